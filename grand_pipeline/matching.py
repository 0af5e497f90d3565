"""Which boxes speak of the same thing: suppression, voting groups, best matches. Pure numpy.

Everything is decided by scores and overlap with ties broken by index, so a caller that sorts its
input gets the same answer whatever order the input came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.overlaps import IntArray, Pairs, led_pairs, ranges
from grand_pipeline.types import BoolArray, FloatArray

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Groups:
    """Numbers in groups, none of them empty: `members` (n,) group by group, `sizes` (g,)."""

    members: IntArray
    sizes: IntArray

    @staticmethod
    def of(groups: Sequence[Sequence[int]]) -> Groups:
        """Groups written as lists."""
        members = [member for group in groups for member in group]
        return Groups(np.array(members, np.int64), np.array([len(g) for g in groups], np.int64))

    @staticmethod
    def led(leader: IntArray, rank: IntArray | None = None) -> Groups:
        """All indices (n,) by their leaders, leaders in order; a leader leads itself, and others
        follow it by `rank` >= 0, by default by index. Those whose leader is -1 are left out."""
        own = leader == np.arange(len(leader))
        width = 1 if rank is None else int(rank.max(initial=0)) + 2
        within = 0 if rank is None else np.where(own, 0, rank + 1)
        members = np.argsort(leader * width + within, kind="stable")
        left = int(np.count_nonzero(leader < 0))
        sizes = np.bincount(leader[members[left:]], minlength=len(leader))
        return Groups(members[left:], sizes[own])

    @property
    def starts(self) -> IntArray:
        """Where each group (g,) starts in `members`."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def numbers(self) -> IntArray:
        """The number of the group of each of the `members` (n,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def lists(self) -> list[list[int]]:
        """The groups as lists."""
        members, ends = self.members.tolist(), np.cumsum(self.sizes).tolist()
        return [members[e - s : e] for s, e in zip(self.sizes.tolist(), ends, strict=True)]

    def take(self, chosen: IntArray) -> Groups:
        """The groups with these numbers, in this order."""
        sizes = self.sizes[chosen]
        return Groups(self.members[ranges(self.starts[chosen], sizes)], sizes)

    def joined(self, parts: Groups) -> Groups:
        """Groups made of groups: `parts` of their numbers."""
        loose = self.take(parts.members)
        return Groups(loose.members, np.add.reduceat(loose.sizes, parts.starts))


Joins = Callable[[Pairs], BoolArray]
"""Which pairs (p,) may be one."""


def suppress(boxes: FloatArray, scores: Scores, keys: IntArray, threshold: float) -> IntArray:
    """Non-maximum suppression inside each label: indices kept, best score first.

    A box (n, 4) is dropped when its IoU with a kept box of the same key (n,) is > `threshold`.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    parts = absorb(
        boxes[order], keys[order], max(threshold, 1e-6), lambda pairs: pairs.iou > threshold
    )
    return order[parts.members[parts.starts]]


def voting_groups(
    boxes: FloatArray, keys: IntArray, sources: IntArray, nms_iou: float, least: float
) -> Groups:
    """Groups of boxes (n, 4) of one key (n,) from different sources (n,).

    Boxes come in rank order. A box is left out when its IoU with a better one of its own source and
    key is > `nms_iou`. The best free box is an anchor; it takes from every other source the free
    partner that overlaps it most, with IoU >= `least`. Each group starts with its anchor, the
    others come by source; anchors come in rank order.
    """
    kept, leader = np.ones(len(boxes), bool), np.arange(len(boxes))
    found: list[Pairs] = []
    for pairs in led_pairs(boxes, keys, max(min(nms_iou, least), 1e-6), kept):
        same = sources[pairs.first] == sources[pairs.second]
        _strike(pairs.where(same & (pairs.iou > nms_iou)), kept)
        found.append(pairs.where(kept[pairs.first] & ~same & (pairs.iou >= least)))
    leader[~kept] = -1
    for pairs in found:
        pairs = pairs.where(kept[pairs.first] & kept[pairs.second])
        free = leader == np.arange(len(leader))
        took = _partners(pairs, sources[pairs.second].tolist(), free.tolist())
        leader[pairs.second[took]] = pairs.first[took]
    return Groups.led(leader, sources)


def _strike(pairs: Pairs, free: BoolArray) -> None:
    """Strike out of `free` (n,) every box that is second to a free one."""
    left = free.tolist()
    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        # Pairs come in the order of their first box, so whether this one is free is settled.
        if left[first]:
            left[second] = False
    free[:] = left


def _partners(pairs: Pairs, sources: Sequence[int], free: list[bool]) -> list[int]:
    """Which of the pairs (p,) become partners; `sources` (p,) are those of their second boxes."""
    seconds, shares = pairs.second.tolist(), pairs.iou.tolist()
    took: list[int] = []
    for anchor, start, end in _runs(pairs.first):
        if free[anchor]:
            best: dict[int, int] = {}
            for n in range(start, end):
                if free[seconds[n]] and shares[n] > shares[best.setdefault(sources[n], n)]:
                    best[sources[n]] = n
            for n in best.values():
                free[seconds[n]] = False
            took += best.values()
    return took


def absorb(boxes: FloatArray, codes: IntArray, least: float, joins: Joins) -> Groups:
    """Merge boxes (n, 4), given in rank order, into earlier ones of their code (n,).

    Of the pairs with IoU >= `least`, those that `joins` says may merge. Box j joins the leader
    i < j of highest IoU. Returns a partition; each part starts with its leader, in rank order.
    """
    best, leader = np.zeros(len(boxes), np.float32), np.arange(len(boxes))
    free = np.ones(len(boxes), bool)
    for every in led_pairs(boxes, codes, least, free):
        pairs = every.where(joins(every))
        _strike(pairs, free)
        pairs = pairs.where(free[pairs.first])
        # The highest IoU is written last, and of equal ones the first leader's.
        rising = np.lexsort((-pairs.first, pairs.iou))
        first, second, iou = pairs.first[rising], pairs.second[rising], pairs.iou[rising]
        nearer = iou > best[second]
        leader[second[nearer]], best[second[nearer]] = first[nearer], iou[nearer]
    return Groups.led(leader)


def best_matches(
    overlap: FloatArray, agrees: BoolArray, agreeing_iou: float, any_iou: float
) -> list[int | None]:
    """The candidate that each box belongs to, or None.

    `overlap` (m, n) are IoUs with the candidates, `agrees` (n,) says whose label agrees. The best
    agreeing candidate with IoU >= `agreeing_iou` wins; otherwise the best of any label with
    IoU >= `any_iou`.
    """
    if not overlap.size:
        return [None] * len(overlap)
    found: list[int | None] = [None] * len(overlap)
    if any_iou <= 1.0:
        found = _best_of(overlap, any_iou, found)
    columns = agrees.nonzero()[0]
    if not len(columns):
        return found
    numbers = columns.tolist()
    best = _best_of(overlap[:, columns], agreeing_iou, [None] * len(overlap))
    return [old if n is None else numbers[n] for n, old in zip(best, found, strict=True)]


def _best_of(overlap: FloatArray, limit: float, otherwise: list[int | None]) -> list[int | None]:
    """The column of the highest IoU of each row (m,), where it is at least `limit`."""
    best = overlap.argmax(axis=1).tolist()
    enough = (overlap.max(axis=1) >= limit).tolist()
    return [n if fits else other for n, fits, other in zip(best, enough, otherwise, strict=True)]


def order_by(firsts: Sequence[NDArray[Any]], ties: Sequence[NDArray[Any]]) -> IntArray:
    """The order of rows by rising `firsts`, the most important first; `ties` decide between rows
    that are equal in all of these, and are rarely needed."""
    order = np.lexsort(tuple(reversed(firsts)))
    same = np.ones(max(0, len(order) - 1), bool)
    for column in firsts:
        ranked = column[order]
        same &= ranked[1:] == ranked[:-1]
    return np.lexsort((*reversed(ties), *reversed(firsts))) if same.any() else order


def codes_of(names: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Names as numbers in the order of the alphabet, and the distinct names by number."""
    distinct = tuple(sorted(set(names)))
    table = dict(zip(distinct, range(len(distinct)), strict=True))
    return np.array([table[name] for name in names], np.int64), distinct


def _runs(values: IntArray) -> Iterable[tuple[int, int, int]]:
    """Each value of a rising array with the start and the end of its run."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    ends = np.append(starts, len(values))[1:]
    return zip(values[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)
