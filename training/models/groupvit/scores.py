"""What a trained GroupViT, or the plain ViT beside it, is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grand_pipeline.types import BoolArray
from training.data import views
from training.data.rows import Row
from training.metrics import retrieval, segmentation
from training.metrics.segmentation import LabelMap
from training.models.groupvit import segments
from training.models.groupvit.export import Trained
from training.models.groupvit.segments import Shown

_AT_ONCE = 64
_READINGS = (("", False), ("_hard", True))
"""Ends of the names of scores -> whether assignments are whole."""


@dataclass(frozen=True)
class Scores:
    """`values` as fractions of 1, and for every row how much better its pixels would be named if
    the groups were told their classes (the difference of the shares of right pixels)."""

    values: dict[str, float]
    gaps: tuple[float, ...]


@dataclass(frozen=True)
class Named:
    """Pixels of a picture (H, W): their groups of both stages, the classes that these are given,
    and those that they would be if they were told."""

    stages: tuple[LabelMap, ...]
    found: LabelMap
    oracle: LabelMap


def scores(trained: Trained, rows: Sequence[Row]) -> Scores:
    """Scores on rows whose masks and captions are taken for the truth.

    `zero_shot.miou`: classes of groups by their prompts, over all labels of the rows.
    `oracle.miou`: the same groups with the class of highest IoU. `probing.jaccard`: the best group
    (of a plain ViT the best head) for all things of one label, a mean over those;
    `probing.foreground`: for all things of a picture together. Names that end in `_hard` have whole
    assignments multiplied, the others soft ones, as published. `groups.used`: groups of a picture
    that have pixels. `retrieval.tr_r1` and `ir_r1`: of texts for an image, of images for a text.
    """
    names = classes_of(rows)
    said = segments.embedded(trained, names)
    tables: dict[str, LabelMap] = {}
    means: dict[str, list[float]] = {}
    gaps, features = [], []
    for row in rows:
        shown, truth = segments.look(trained, row.open_image()), target(row, names)
        features.append(shown.feature)
        gap = 0.0
        for suffix, hard in _READINGS if shown.assignments and names else ():
            named = name(trained, shown, said, truth, hard=hard)
            for kind, map_ in (("zero_shot", named.found), ("oracle", named.oracle)):
                table = segmentation.confused(map_, truth, len(names))
                key = f"{kind}.miou{suffix}"
                tables[key] = tables.get(key, 0) + table
            groups = segmentation.members(named.stages[-1], len(shown.groups))
            _probe(means, row, groups, f"probing.{{}}{suffix}")
            means.setdefault(f"groups.used{suffix}", []).append(float(groups.any((1, 2)).sum()))
            gap = float((named.oracle == truth).mean() - (named.found == truth).mean())
        if shown.attention is not None:
            _probe(means, row, _heads(shown.attention, row.size), "probing.{}")
        gaps.append(gap)
    found = {key: segmentation.mean_iou(table) for key, table in tables.items()}
    found |= {key: float(np.mean(held)) if held else 0.0 for key, held in means.items()}
    found |= _retrieval(trained, rows, features)
    return Scores(found | {"images": float(len(rows)), "classes": float(len(names))}, tuple(gaps))


def classes_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """All labels of objects with masks, sorted."""
    return tuple(sorted({thing.label for row in rows for thing in row.objects if thing.rle}))


def target(row: Row, names: Sequence[str]) -> LabelMap:
    """The class of every pixel of the whole picture, -1 where there is none; where masks overlap,
    that of the smaller one, which is in front of or a part of the larger."""
    number = {name: place for place, name in enumerate(names)}
    found = np.full(row.size, -1, np.int64)
    held = sorted(views.segmentation(row), key=lambda one: -int(one.mask.sum()))
    for one in held:
        found[one.mask] = number[one.label]
    return found


def name(
    trained: Trained, shown: Shown, said: Tensor, truth: LabelMap, *, hard: bool = False
) -> Named:
    """Give the groups of a picture their classes, out of vectors (C, P) `said` of all classes.

    `truth` (H, W) tells them to the oracle.
    """
    height, width = truth.shape
    stages = segments.stages(shown, (height, width), hard=hard)
    given = segments.named(shown, said, trained.model.scales()[0].detach())
    found = segments.labels_of(stages[-1], given, trained.reading.background)
    told = segmentation.oracle(stages[-1], len(shown.groups), truth, len(said))
    return Named(tuple(stages), found, told)


def _probe(means: dict[str, list[float]], row: Row, found: BoolArray, form: str) -> None:
    """Add how well the best of the masks (K, H, W) meets what there is to see."""
    things: dict[str, BoolArray] = {}
    for one in views.segmentation(row):
        if one.kind != "stuff":
            before = things.get(one.label)
            things[one.label] = one.mask if before is None else before | one.mask
    if not things:
        return
    masks = np.stack(list(things.values()))
    best = segmentation.jaccard(found, masks).max(1)
    means.setdefault(form.format("jaccard"), []).extend(best.tolist())
    together = segmentation.jaccard(found, masks.max(0, keepdims=True)).max()
    means.setdefault(form.format("foreground"), []).append(float(together))


def _heads(attention: Tensor, size: tuple[int, int]) -> BoolArray:
    """What the heads (K, h, w) look at, as masks (K, H, W)."""
    held = segmentation.attended(attention.cpu().numpy())
    large = F.interpolate(torch.from_numpy(held)[None].float(), size, mode="nearest")[0]
    return np.asarray(large.numpy() > 0)


def _retrieval(
    trained: Trained, rows: Sequence[Row], features: Sequence[Tensor]
) -> dict[str, float]:
    captions = [tuple(c.text for c in views.image_caption(row)) for row in rows]
    texts = list(dict.fromkeys(chain.from_iterable(captions)))
    if not texts:
        return {}
    parts = range(0, len(texts), _AT_ONCE)
    said = torch.cat([segments.encoded(trained, texts[n : n + _AT_ONCE]) for n in parts])
    similarity = (torch.stack(list(features)) @ said.T).cpu().numpy()
    place = {text: at for at, text in enumerate(texts)}
    of_image = [frozenset(place[text] for text in some) for some in captions]
    of_text = [frozenset(n for n, some in enumerate(captions) if t in some) for t in texts]
    return {
        "retrieval.tr_r1": retrieval.recall(similarity, of_image, (1,))[1],
        "retrieval.ir_r1": retrieval.recall(similarity.T, of_text, (1,))[1],
    }
