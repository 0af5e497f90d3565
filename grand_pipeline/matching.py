"""Which boxes speak of the same thing: suppression, voting groups, best matches. Pure numpy.

Everything is decided by scores and overlap with ties broken by index, so a caller that sorts its
input gets the same answer whatever order the input came in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grand_pipeline import geometry
from grand_pipeline.types import BoolArray, FloatArray

IntArray = NDArray[np.int64]
Scores = NDArray[np.floating]

_AT_ONCE = 1 << 20
"""Pairs of boxes looked at together: bounds memory."""
_MANY = 2000
"""Boxes from which on suppression goes box by box."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of boxes that overlap: indices `first` < `second`, and their IoU, each (p,)."""

    first: IntArray
    second: IntArray
    iou: FloatArray

    def where(self, chosen: BoolArray) -> Pairs:
        """The pairs for which `chosen` (p,) is true."""
        return Pairs(self.first[chosen], self.second[chosen], self.iou[chosen])


def overlapping(boxes: FloatArray, codes: IntArray, least: float) -> Pairs:
    """All pairs of boxes (n, 4) of one code (n,) with IoU >= `least` > 0, in index order.

    Boxes are swept from left to right, code by code, so that boxes far apart are never compared.
    """
    count = len(boxes)
    if not count:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    # Each code gets a stretch of the line of its own, as wide as all boxes together.
    shift = codes * (float(boxes[:, 2].max() - boxes[:, 0].min()) + 1.0)
    order = np.argsort(boxes[:, 0] + shift, kind="stable")
    swept = boxes[order]
    shift = shift[order]
    later = np.searchsorted(swept[:, 0] + shift, swept[:, 2] + shift) - np.arange(1, count + 1)
    later = np.maximum(later, 0)
    ends = np.cumsum(later)
    found: list[Pairs] = []
    row = 0
    while row < count:
        done = int(ends[row - 1]) if row else 0
        stop = max(row + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        found.append(_swept(swept, row, later[row:stop], least))
        row = stop
    left, right = order[_joined(p.first for p in found)], order[_joined(p.second for p in found)]
    first, second = np.minimum(left, right), np.maximum(left, right)
    ranked = np.argsort(first * count + second, kind="stable")
    iou = np.concatenate([pairs.iou for pairs in found])
    return Pairs(first[ranked], second[ranked], iou[ranked])


def _joined(parts: Iterable[IntArray]) -> IntArray:
    return np.concatenate(list(parts))


def _swept(boxes: FloatArray, row: int, later: IntArray, least: float) -> Pairs:
    """Pairs of the boxes from `row` on with as many boxes after them as `later` says."""
    ends = np.cumsum(later)
    a = np.repeat(np.arange(row, row + len(later)), later)
    b = np.arange(1, len(a) + 1) - np.repeat(ends - later, later) + a
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    height = np.minimum(y2[a], y2[b]) - np.maximum(y1[a], y1[b])
    level = np.flatnonzero(height > 0)
    a, b = a[level], b[level]
    inter = (np.minimum(x2[a], x2[b]) - x1[b]) * height[level]
    areas = (x2 - x1) * (y2 - y1)
    iou = inter / (areas[a] + areas[b] - inter)
    close = iou >= least
    return Pairs(a[close], b[close], iou[close])


def suppress(boxes: FloatArray, scores: Scores, keys: IntArray, threshold: float) -> list[int]:
    """Non-maximum suppression inside each label: indices kept, best score first.

    A box (n, 4) is dropped when its IoU with a kept box of the same key (n,) is > `threshold`.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    boxes, keys = boxes[order], keys[order]
    alive = np.ones(len(order), bool)
    if len(order) > _MANY:
        # Thousands of boxes can be millions of pairs; then those of a kept box are looked at alone.
        for index in range(len(order)):
            if alive[index]:
                later = (
                    index
                    + 1
                    + np.flatnonzero(alive[index + 1 :] & (keys[index + 1 :] == keys[index]))
                )
                overlap = geometry.iou(boxes[index : index + 1], boxes[later])[0]
                alive[later[overlap > threshold]] = False
    else:
        pairs = overlapping(boxes, keys, max(threshold, 1e-6))
        pairs = pairs.where(pairs.iou > threshold)
        for leader, start, end in _runs(pairs.first):
            # Pairs come in the order of their first box, so whether this one stays is settled.
            if alive[leader]:
                alive[pairs.second[start:end]] = False
    kept: list[int] = order[alive].tolist()
    return kept


def voting_groups(pairs: Pairs, sources: IntArray) -> list[list[int]]:
    """Groups of boxes from different sources (n,): a partition of all indices.

    Boxes come in rank order; `pairs` are those that may vote together. The best free box is an
    anchor; it takes from every other source the free partner that overlaps it most. Each group
    starts with its anchor; anchors come in rank order.
    """
    partners = _partners(pairs)
    source_of, free = sources.tolist(), [True] * len(sources)
    groups: list[list[int]] = []
    for anchor in range(len(sources)):
        if not free[anchor]:
            continue
        group = [anchor]
        if anchor in partners:
            best: dict[int, tuple[float, int]] = {}
            for other, iou in partners[anchor]:
                if free[other]:
                    source = source_of[other]
                    if source not in best or iou > best[source][0]:
                        best[source] = iou, other
            group += [best[source][1] for source in sorted(best)]
        for index in group:
            free[index] = False
        groups.append(group)
    return groups


def absorb(pairs: Pairs, count: int) -> list[list[int]]:
    """Merge each of `count` boxes, given in rank order, into an earlier one.

    `pairs` are those that may merge. Box j joins the free leader i < j of highest IoU. Returns a
    partition; each part starts with its leader, in rank order.
    """
    best = np.zeros(count, np.float32)
    leader = np.arange(count)
    for index, start, end in _runs(pairs.first):
        # As above, whether this one leads is settled.
        if leader[index] == index:
            second, iou = pairs.second[start:end], pairs.iou[start:end]
            nearer = iou > best[second]
            best[second[nearer]], leader[second[nearer]] = iou[nearer], index
    parts: dict[int, list[int]] = {}
    for index, head in enumerate(leader.tolist()):
        parts.setdefault(head, []).append(index)
    return list(parts.values())


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


def order_by(firsts: Sequence[NDArray[Any]], ties: Sequence[NDArray[Any]]) -> IntArray:
    """The order of rows by rising `firsts`, the most important first; `ties` decide between rows
    that are equal in all of these, and are rarely needed."""
    order = np.lexsort(tuple(reversed(firsts)))
    same = np.ones(max(0, len(order) - 1), bool)
    for column in firsts:
        ranked = column[order]
        same &= ranked[1:] == ranked[:-1]
    return np.lexsort((*reversed(ties), *reversed(firsts))) if same.any() else order


def codes_of(names: Iterable[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Names as numbers in the order of the alphabet, and the distinct names by number."""
    every = list(names)
    distinct = tuple(sorted(set(every)))
    table = dict(zip(distinct, range(len(distinct)), strict=True))
    return np.fromiter(map(table.__getitem__, every), np.int64, len(every)), distinct


def _runs(values: IntArray) -> Iterable[tuple[int, int, int]]:
    """Each value of a rising array with the start and the end of its run."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    ends = np.append(starts, len(values))[1:]
    return zip(values[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)


def _partners(pairs: Pairs) -> dict[int, list[tuple[int, float]]]:
    """Index -> its partners in index order with their IoU."""
    table: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for i, j, iou in zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.iou.tolist(), strict=True
    ):
        table[i].append((j, iou))
        table[j].append((i, iou))
    return table
