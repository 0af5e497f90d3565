"""Which boxes speak of the same thing: suppression, voting groups, best matches. Pure numpy.

Everything is decided by scores and overlap with ties broken by index, so a caller that sorts its
input gets the same answer whatever order the input came in.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grand_pipeline import geometry
from grand_pipeline.types import BoolArray, Box, FloatArray

IntArray = NDArray[np.int64]


def suppress(boxes: FloatArray, scores: FloatArray, keys: IntArray, threshold: float) -> list[int]:
    """Non-maximum suppression inside each label: indices kept, best score first.

    A box (n, 4) is dropped when its IoU with a kept box of the same key (n,) is > `threshold`.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    rivals = (geometry.iou(boxes, boxes) > threshold) & (keys[:, None] == keys[None, :])
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for index in order.tolist():
        if alive[index]:
            kept.append(index)
            alive &= ~rivals[index]
    return kept


def voting_groups(
    boxes: FloatArray, scores: FloatArray, keys: IntArray, sources: IntArray, threshold: float
) -> list[list[int]]:
    """Groups of boxes of one key from different sources: a partition of all indices.

    The best-scored free box is an anchor; it takes from every other source the free box of its
    key that overlaps it most, if the IoU is >= `threshold`. Each group starts with its anchor.
    """
    possible = geometry.iou(boxes, boxes)
    possible *= (keys[:, None] == keys[None, :]) & (sources[:, None] != sources[None, :])
    partners = _adjacent(possible >= max(threshold, 1e-6))
    free = np.ones(len(boxes), bool)
    groups: list[list[int]] = []
    for anchor in np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist():
        if not free[anchor]:
            continue
        best: dict[int, int] = {}
        for other in partners.get(anchor, ()):
            source = int(sources[other])
            rival = best.get(source)
            if free[other] and (rival is None or possible[anchor, other] > possible[anchor, rival]):
                best[source] = other
        group = [anchor, *(best[source] for source in sorted(best))]
        free[group] = False
        groups.append(group)
    return groups


def absorb(boxes: FloatArray, limits: FloatArray) -> list[list[int]]:
    """Merge each box into an earlier one that overlaps it enough; boxes come in rank order.

    Box j joins the overlapping free leader i < j of highest IoU with IoU >= `limits`[i, j] (n, n).
    Returns a partition; each part starts with its leader, in rank order.
    """
    overlap = geometry.iou(boxes, boxes)
    takers = _adjacent(np.triu(overlap >= limits, 1).T)
    parts: dict[int, list[int]] = {}
    for index in range(len(boxes)):
        leaders = [i for i in takers.get(index, ()) if i in parts]
        if leaders:
            best = max(leaders, key=lambda i: (float(overlap[i, index]), -i))
            parts[best].append(index)
        else:
            parts[index] = [index]
    return list(parts.values())


def weighted_box(boxes: Sequence[Box], weights: Sequence[float]) -> Box:
    """The weighted mean of at least one box; the plain mean when all weights are zero."""
    # Plain Python: called once per object with two or three boxes, where numpy is slower.
    total = math.fsum(weights)
    usable = weights if total > 0 else [1.0] * len(boxes)
    total = total if total > 0 else float(len(boxes))
    x1, y1, x2, y2 = (
        _within(side, math.fsum(w * value for w, value in zip(usable, side, strict=True)) / total)
        for side in zip(*boxes, strict=True)
    )
    return x1, y1, x2, y2


def _within(values: Sequence[float], mean: float) -> float:
    """The mean kept among its values, which rounding can make it leave (and the image with it)."""
    return max(min(values), min(max(values), mean))


def noisy_or(scores: Sequence[float]) -> float:
    """Probability that at least one of independent sources is right; scores are in [0, 1]."""
    return 1.0 - math.prod(1.0 - min(1.0, max(0.0, score)) for score in scores)


def best_match(
    overlap: FloatArray, agrees: BoolArray, agreeing_iou: float, any_iou: float
) -> int | None:
    """The candidate that a box belongs to, or None.

    `overlap` (n,) are IoUs with the candidates, `agrees` (n,) says whose label agrees. The best
    agreeing candidate with IoU >= `agreeing_iou` wins; otherwise the best of any label with
    IoU >= `any_iou`.
    """
    for allowed, limit in ((agrees, agreeing_iou), (np.ones_like(agrees), any_iou)):
        scored = np.where(allowed, overlap, -1.0)
        if len(scored) and scored.max() >= limit:
            return int(scored.argmax())
    return None


def _adjacent(related: BoolArray) -> dict[int, list[int]]:
    """Row -> columns that are true, in order."""
    table: dict[int, list[int]] = defaultdict(list)
    for row, column in np.argwhere(related).tolist():
        table[row].append(column)
    return table
