"""Masks against true masks, beside what an ellipse in the same box would score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from grand_pipeline.columns import PublishedObject
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import MATCH_IOU, ImagePair, Match, is_voted, mean, share
from grand_pipeline.geometry import rle_encode, rle_iou
from grand_pipeline.types import BoolArray, Box, Rle, Segment, Size


def mask_scores(
    pairs: Sequence[ImagePair], segments: Mapping[str, tuple[Segment, ...]] | None
) -> Scores:
    """Mean IoU of matched things, where a missing mask counts 0, and the ellipse baseline.

    `segments` are the automatic masks by image id, if the run has them.
    """
    matched = [m for p in pairs for m in p.matched_things if m.truth.mask is not None]
    prompted = [m for m in matched if m.predicted.mask_source == "box"]
    voted = [o for p in pairs for o in p.predicted.objects if is_voted(o)]
    return {
        "masks.miou": mean(_overlap(m) for m in matched),
        "masks.ellipse_miou": mean(_ellipse_overlap(m) for m in matched),
        "masks.coverage": share(sum(o.mask is not None for o in voted), len(voted)),
        "masks.box_prompted_miou": mean(_overlap(m) for m in prompted),
        "masks.box_prompted_ellipse_miou": mean(_ellipse_overlap(m) for m in prompted),
        "masks.box_prompted_share": share(len(prompted), len(matched)),
        "masks.stuff_miou": mean(v for p in pairs for v in _stuff_overlaps(p)),
        "masks.auto_recall50": _auto_recall(pairs, segments),
    }


def ellipse(box: Box, size: Size) -> BoolArray:
    """The ellipse inscribed in a box, as a (height, width) mask of pixel centres."""
    height, width = size
    x1, y1, x2, y2 = box
    x = (np.arange(width) + 0.5 - (x1 + x2) / 2) / max((x2 - x1) / 2, 1e-6)
    y = (np.arange(height) + 0.5 - (y1 + y2) / 2) / max((y2 - y1) / 2, 1e-6)
    return np.asarray(x[None, :] ** 2 + y[:, None] ** 2 <= 1.0)


def _iou(ours: Rle | None, true: Rle) -> float:
    if ours is None or ours.size != true.size:
        return 0.0
    return float(rle_iou([ours], [true])[0, 0])


def _overlap(match: Match) -> float:
    assert match.truth.mask is not None
    return _iou(match.predicted.mask, match.truth.mask)


def _ellipse_overlap(match: Match) -> float:
    assert match.truth.mask is not None
    return _iou(rle_encode(ellipse(match.predicted.box, match.truth.mask.size)), match.truth.mask)


def _stuff_overlaps(pair: ImagePair) -> list[float]:
    """For every true region of stuff: IoU of the best-scored region of that name, 0 without."""
    ours: dict[str, PublishedObject] = {}
    for thing in pair.predicted.objects:
        known = ours.get(thing.label)
        if thing.kind == "stuff" and (known is None or (thing.score or 0) > (known.score or 0)):
            ours[thing.label] = thing
    found: list[float] = []
    for thing in pair.truth.objects:
        if thing.kind == "stuff" and thing.mask is not None:
            candidate = ours.get(thing.label)
            found.append(_iou(candidate.mask if candidate else None, thing.mask))
    return found


def _auto_recall(
    pairs: Sequence[ImagePair], segments: Mapping[str, tuple[Segment, ...]] | None
) -> float | None:
    """Share of true things that some automatic mask covers with IoU >= 0.5."""
    if segments is None:
        return None
    hits: list[float] = []
    for pair in pairs:
        true = [o.mask for o in pair.true_things if o.mask is not None]
        ours = [s.mask for s in segments.get(pair.image_id, ())]
        if true and ours:
            best = rle_iou(ours, true).max(axis=0)
            hits += [float(value >= MATCH_IOU) for value in best]
        else:
            hits += [0.0] * len(true)
    return mean(hits)
