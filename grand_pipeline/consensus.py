"""What several detections on one place come to: label, box and score, for many places at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.matching import Groups, order_by
from grand_pipeline.overlaps import IntArray
from grand_pipeline.types import BoolArray, FloatArray

Doubles = NDArray[np.float64]
IsA = Callable[[IntArray, IntArray], BoolArray]
"""Whether each first label (n,) is a kind of the second one, by number."""


@dataclass(frozen=True)
class Ballot:
    """Detections (n,): box, score, and numbers of source, label and image.

    Labels and sources are numbered in the order of the alphabet, which decides between equals.
    Groups are of detections of one image each.
    """

    boxes: FloatArray
    scores: Doubles
    sources: IntArray
    keys: IntArray
    images: IntArray


@dataclass(frozen=True)
class Verdicts:
    """What groups (g,) of detections come to; `voters` are the numbers of different sources."""

    boxes: Doubles
    scores: Doubles
    keys: IntArray
    voters: IntArray
    images: IntArray

    def ranked(self) -> IntArray:
        """The groups, image by image, by voters, score, label and box, best first."""
        return order_by((self.images, -self.voters, -self.scores), (self.keys, *self.boxes.T))

    def take(self, chosen: IntArray) -> Verdicts:
        """The groups with these numbers, in this order."""
        return Verdicts(
            self.boxes[chosen],
            self.scores[chosen],
            self.keys[chosen],
            self.voters[chosen],
            self.images[chosen],
        )

    def replaced(self, at: IntArray, other: Verdicts) -> Verdicts:
        """These verdicts with those of `other`, on the same images, at the given places."""
        boxes, scores = self.boxes.copy(), self.scores.copy()
        keys, voters = self.keys.copy(), self.voters.copy()
        boxes[at], scores[at] = other.boxes, other.scores
        keys[at], voters[at] = other.keys, other.voters
        return Verdicts(boxes, scores, keys, voters, self.images)


def decide(ballot: Ballot, groups: Groups, is_a: IsA) -> Verdicts:
    """The verdict on each group of detections.

    The label with the highest sum of scores wins, or the narrowest kind of it that was voted for
    too. Box and score are made of the detections that agree with the winner: the mean of the boxes
    weighted with squared scores (of two detectors of unlike quality, the surer one draws the better
    box), and the probability that at least one of the sources is right.
    """
    group, index = groups.numbers, groups.members
    images = ballot.images[index[groups.starts]]
    keys, agreeing = _elected(group, ballot.keys[index], ballot.scores[index], is_a)
    of_source = _distinct(group, ballot.sources[index])[0]
    voters = np.bincount(of_source, minlength=len(groups.sizes))
    group, index = group[agreeing], index[agreeing]
    starts = _starts(group)
    left = np.diff(starts, append=len(group))
    boxes = _mean_boxes(starts, left, ballot.boxes[index], ballot.scores[index])
    scores = _any_right(group, ballot.sources[index], ballot.scores[index], groups.sizes == 1)
    return Verdicts(boxes, scores, keys, voters, images)


def tally(ballot: Ballot, groups: Groups) -> Verdicts:
    """`decide` for groups of one label whose members all come from different sources."""
    index, sizes, starts = groups.members, groups.sizes, groups.starts
    given = ballot.scores[index]
    scores = np.clip(given, 0.0, 1.0)
    wrong = np.multiply.reduceat(1.0 - scores, starts)
    return Verdicts(
        _mean_boxes(starts, sizes, ballot.boxes[index], given),
        np.where(sizes == 1, scores[starts], 1.0 - wrong),
        ballot.keys[index[starts]],
        sizes,
        ballot.images[index[starts]],
    )


def _elected(
    group: IntArray, keys: IntArray, scores: Doubles, is_a: IsA
) -> tuple[IntArray, BoolArray]:
    """The winning label of each group (g,), and which members (n,) agree with it."""
    of_group, of_key, member = _distinct(group, keys)
    weights = np.bincount(member, scores)
    order = np.lexsort((of_key, -weights, of_group))
    winners = of_key[order][_starts(of_group)]
    narrower = order[is_a(of_key[order], winners[of_group[order]])]
    # Written last is what counts, and that is to be the heaviest.
    winners[of_group[narrower[::-1]]] = of_key[narrower[::-1]]
    agrees = (of_key == winners[of_group]) | is_a(winners[of_group], of_key)
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
    starts = _starts(of_group)
    wrong = np.multiply.reduceat(1.0 - best, starts)
    # A single score is kept to the last digit.
    return np.where(single, best[starts], 1.0 - wrong)


def _distinct(group: IntArray, codes: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Distinct (group, code) pairs in order, and the pair that each member belongs to."""
    width = int(codes.max(initial=0)) + 1
    pairs, member = np.unique(group * width + codes, return_inverse=True)
    return pairs // width, pairs % width, member


def _starts(rising: IntArray) -> IntArray:
    """Where each run of equal numbers starts."""
    return np.flatnonzero(np.diff(rising, prepend=-1))
