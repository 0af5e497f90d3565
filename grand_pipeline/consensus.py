"""What several detections on one place come to: label, box and score, for many places at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.matching import IntArray, order_by
from grand_pipeline.types import BoolArray, FloatArray

Doubles = NDArray[np.float64]
IsA = Callable[[int, int], bool]
"""Whether the first label is a kind of the second, by number."""


@dataclass(frozen=True)
class Ballot:
    """Detections (n,): box, score, and numbers of source and label.

    Labels and sources are numbered in the order of the alphabet, which decides between equals.
    """

    boxes: FloatArray
    scores: Doubles
    sources: IntArray
    keys: IntArray


@dataclass(frozen=True)
class Verdicts:
    """What groups (g,) of detections come to; `voters` are the numbers of different sources."""

    boxes: Doubles
    scores: Doubles
    keys: IntArray
    voters: IntArray

    def ranked(self) -> IntArray:
        """The groups by voters, score, label and box, best first."""
        return order_by((-self.voters, -self.scores), (self.keys, *self.boxes.T))

    def take(self, chosen: IntArray) -> Verdicts:
        """The groups with these numbers, in this order."""
        return Verdicts(
            self.boxes[chosen], self.scores[chosen], self.keys[chosen], self.voters[chosen]
        )

    def replaced(self, at: Sequence[int], other: Verdicts) -> Verdicts:
        """These verdicts with those of `other` at the given places."""
        places = list(at)
        boxes, scores = self.boxes.copy(), self.scores.copy()
        keys, voters = self.keys.copy(), self.voters.copy()
        boxes[places], scores[places] = other.boxes, other.scores
        keys[places], voters[places] = other.keys, other.voters
        return Verdicts(boxes, scores, keys, voters)


def decide(ballot: Ballot, groups: Sequence[Sequence[int]], is_a: IsA) -> Verdicts:
    """The verdict on each group of detections, none of them empty.

    The label with the highest sum of scores wins, or the narrowest kind of it that was voted for
    too. Box and score are made of the detections that agree with the winner: the mean of the boxes
    weighted with squared scores (of two detectors of unlike quality, the surer one draws the better
    box), and the probability that at least one of the sources is right.
    """
    sizes = np.array([len(group) for group in groups], np.int64)
    group = np.repeat(np.arange(len(groups)), sizes)
    index = np.array([i for members in groups for i in members], np.int64)
    keys, agreeing = _elected(group, ballot.keys[index], ballot.scores[index], is_a)
    voters = np.bincount(_distinct(group, ballot.sources[index])[0], minlength=len(groups))
    group, index = group[agreeing], index[agreeing]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    left = np.diff(starts, append=len(group))
    boxes = _mean_boxes(starts, left, ballot.boxes[index], ballot.scores[index])
    scores = _any_right(group, ballot.sources[index], ballot.scores[index], sizes == 1)
    return Verdicts(boxes, scores, keys, voters)


def tally(ballot: Ballot, groups: Sequence[Sequence[int]]) -> Verdicts:
    """`decide` for groups of one label whose members all come from different sources."""
    sizes = np.array([len(group) for group in groups], np.int64)
    index = np.array([i for members in groups for i in members], np.int64)
    starts = np.cumsum(sizes) - sizes
    scores = np.clip(ballot.scores[index], 0.0, 1.0)
    wrong = np.multiply.reduceat(1.0 - scores, starts)
    return Verdicts(
        _mean_boxes(starts, sizes, ballot.boxes[index], ballot.scores[index]),
        np.where(sizes == 1, scores[starts], 1.0 - wrong),
        ballot.keys[index[starts]],
        sizes,
    )


def _elected(
    group: IntArray, keys: IntArray, scores: Doubles, is_a: IsA
) -> tuple[IntArray, BoolArray]:
    """The winning label of each group (g,), and which members (n,) agree with it."""
    of_group, of_key, member = _distinct(group, keys)
    weights = np.bincount(member, scores)
    order = np.lexsort((of_key, -weights, of_group))
    first = np.flatnonzero(np.diff(of_group[order], prepend=-1))
    winners = of_key[order][first]
    agrees = np.ones(len(of_key), bool)
    ends = np.append(first, len(order))[1:]
    for n in np.flatnonzero(ends - first > 1).tolist():
        entries = order[first[n] : ends[n]].tolist()
        said = [int(of_key[entry]) for entry in entries]
        winner = next((key for key in said[1:] if is_a(key, said[0])), said[0])
        winners[n] = winner
        for entry, key in zip(entries, said, strict=True):
            agrees[entry] = key == winner or is_a(winner, key)
    return winners, agrees[member]


def _mean_boxes(starts: IntArray, sizes: IntArray, boxes: FloatArray, scores: Doubles) -> Doubles:
    """Mean box (g, 4) of each run of boxes; the plain mean where all scores are zero."""
    weights = scores**2
    total = np.add.reduceat(weights, starts)
    if not total.all():
        weights = np.where(np.repeat(total, sizes) > 0, weights, 1.0)
        total = np.add.reduceat(weights, starts)
    wide = boxes.astype(np.float64)
    means = np.add.reduceat(wide * weights[:, None], starts) / total[:, None]
    # Rounding can make a mean leave its values, and the image with them.
    low, high = np.minimum.reduceat(wide, starts), np.maximum.reduceat(wide, starts)
    return np.minimum(np.maximum(means, low), high)


def _any_right(group: IntArray, sources: IntArray, scores: Doubles, single: BoolArray) -> Doubles:
    """Probability (g,) that one of independent sources is right, each by its best score."""
    of_group, _, member = _distinct(group, sources)
    best = np.zeros(len(of_group))
    np.maximum.at(best, member, np.clip(scores, 0.0, 1.0))
    starts = np.flatnonzero(np.diff(of_group, prepend=-1))
    wrong = np.multiply.reduceat(1.0 - best, starts)
    # A single score is kept to the last digit.
    return np.where(single, best[starts], 1.0 - wrong)


def _distinct(group: IntArray, codes: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Distinct (group, code) pairs in order, and the pair that each member belongs to."""
    width = int(codes.max(initial=0)) + 1
    pairs, member = np.unique(group * width + codes, return_inverse=True)
    return pairs // width, pairs % width, member
