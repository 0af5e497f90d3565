"""Which boxes overlap, found by sweeping them from left to right. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.types import BoolArray, FloatArray

IntArray = NDArray[np.int64]

_AT_ONCE = 1 << 20
"""Pairs of boxes looked at together: bounds memory."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of boxes that overlap: indices `first` < `second`, and their IoU, each (p,)."""

    first: IntArray
    second: IntArray
    iou: FloatArray

    def where(self, chosen: BoolArray) -> Pairs:
        """The pairs for which `chosen` (p,) is true."""
        return Pairs(self.first[chosen], self.second[chosen], self.iou[chosen])


@dataclass(frozen=True)
class _Sweep:
    """Boxes (n, 4) of several codes from left to right, so that those far apart never meet.

    `order` are their indices. Only boxes at the places after i up to `ends[i]` can overlap box i
    with an IoU of `least`.
    """

    boxes: FloatArray
    order: IntArray
    ends: IntArray
    least: float

    @staticmethod
    def of(boxes: FloatArray, codes: IntArray, least: float) -> _Sweep:
        # Each code gets a stretch of the line of its own, as wide as all boxes together.
        shift = codes * (float(boxes[:, 2].max() - boxes[:, 0].min()) + 1.0)
        lefts, rights = boxes[:, 0] + shift, boxes[:, 2] + shift
        # IoU is at most the part of either width that is shared; a little less, for rounding.
        lasts = rights - min(0.999 * least, 0.999) * (rights - lefts)
        order = np.argsort(lefts, kind="stable")
        ends = np.searchsorted(lefts[order], lasts[order])
        return _Sweep(boxes[order], order, ends, least)

    def loads(self) -> IntArray:
        """How many others are compared with each box (n,)."""
        places = np.arange(len(self.order))
        ends = np.maximum(self.ends, places + 1)
        passed = np.cumsum(np.bincount(ends, minlength=len(places) + 1))[:-1]
        loads = np.empty(len(places), np.int64)
        loads[self.order] = (ends - places - 1) + (places - passed)
        return loads

    def pairs(self, chosen: BoolArray) -> Pairs:
        """Pairs whose first box is one of the `chosen` (n,), in index order."""
        picked = chosen[self.order]
        places, count = np.arange(len(picked)), len(picked)
        if picked.all():
            found = self._within(places, places + 1, self.ends, places)
        else:
            some = np.flatnonzero(picked)
            rest = np.flatnonzero(~picked)
            start = np.searchsorted(some, rest)
            stop = np.searchsorted(some, self.ends[rest])
            found = [
                *self._within(some, some + 1, self.ends[some], places),
                *self._within(rest, start, stop, some),
            ]
        left, right, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
        left, right = self.order[left], self.order[right]
        pairs = Pairs(np.minimum(left, right), np.maximum(left, right), iou)
        ranked = np.argsort(pairs.first * count + pairs.second, kind="stable")
        ranked = ranked[chosen[pairs.first[ranked]]]
        return Pairs(pairs.first[ranked], pairs.second[ranked], iou[ranked])

    def _within(
        self, lefts: IntArray, starts: IntArray, stops: IntArray, rights: IntArray
    ) -> list[tuple[IntArray, IntArray, FloatArray]]:
        """Places and IoU of the close pairs of each of `lefts` (m,) and `rights[start:stop]`."""
        later = np.maximum(stops - starts, 0)
        ends = np.cumsum(later)
        found: list[tuple[IntArray, IntArray, FloatArray]] = []
        row = 0
        while row < len(lefts) or not found:
            done = int(ends[row - 1]) if row else 0
            stop = max(row + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
            some = slice(row, stop)
            a, b = np.repeat(lefts[some], later[some]), rights[ranges(starts[some], later[some])]
            found.append(self._close(a, b))
            row = stop
        return found

    def _close(self, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Those of the pairs a, b (p,) that overlap enough; a starts left of b and ends in it."""
        x1, y1, x2, y2 = np.ascontiguousarray(self.boxes.T)
        height = np.minimum(y2[a], y2[b]) - np.maximum(y1[a], y1[b])
        level = np.flatnonzero(height > 0)
        a, b = a[level], b[level]
        inter = (np.minimum(x2[a], x2[b]) - np.maximum(x1[a], x1[b])) * height[level]
        areas = (x2 - x1) * (y2 - y1)
        iou = inter / (areas[a] + areas[b] - inter)
        close = iou >= self.least
        return a[close], b[close], iou[close]


def overlapping(boxes: FloatArray, codes: IntArray, least: float) -> Pairs:
    """All pairs of boxes (n, 4) of one code (n,) with IoU >= `least` > 0, in index order."""
    if not len(boxes):
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    return _Sweep.of(boxes, codes, least).pairs(np.ones(len(boxes), bool))


def led_pairs(boxes: FloatArray, codes: IntArray, least: float, free: BoolArray) -> Iterator[Pairs]:
    """Overlapping pairs of boxes in rank order whose first is `free`, in order, in parts.

    The caller strikes out of `free` who follows another and leads nobody. So a crowd on one place,
    of which nearly all soon follow, never makes all its pairs.
    """
    if not len(boxes):
        return
    sweep = _Sweep.of(boxes, codes, least)
    loads = sweep.loads()
    row = 0
    while row < len(boxes):
        leading = row + np.flatnonzero(free[row:])
        if not len(leading):
            return
        block = np.searchsorted(np.cumsum(loads[leading]), _AT_ONCE, side="right")
        leading = leading[: max(1, block)]
        chosen = np.zeros(len(boxes), bool)
        chosen[leading] = True
        yield sweep.pairs(chosen)
        row = int(leading[-1]) + 1


def ranges(starts: IntArray, sizes: IntArray) -> IntArray:
    """The numbers from each of `starts` on, as many as `sizes` says, one range after the other."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + sizes, sizes)
