"""What detectors say of some images, in numbers: one table for all, so that fusing costs a few
array operations and not a few per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from grand_pipeline import geometry, matching
from grand_pipeline.consensus import Ballot
from grand_pipeline.labels import Lexicon, normalize
from grand_pipeline.matching import Groups
from grand_pipeline.overlaps import IntArray
from grand_pipeline.types import BoolArray, Detection, FloatArray, Size, Vote

Found = Mapping[str, Sequence[Detection]]
"""Source -> its detections in one image."""


@dataclass(frozen=True)
class Seen:
    """The usable detections (n,) of some images, image by image, best first."""

    ballot: Ballot
    spelt: IntArray
    """Numbers of the detectors' own labels."""
    sources: tuple[str, ...]
    """Names of the sources by number."""
    spellings: tuple[str, ...]
    """The detectors' own labels by number."""
    keys: tuple[str, ...]
    """Canonical labels by number."""
    kinds: IntArray
    """Label * number of labels + kind for all labels that are a kind of another, in order."""

    def is_a(self, labels: IntArray, kinds: IntArray) -> BoolArray:
        """Whether each label (m,) is a kind of another, by number."""
        wanted = labels * len(self.keys) + kinds
        found: BoolArray = self.kinds[np.searchsorted(self.kinds[:-1], wanted)] == wanted
        return found

    def names(self, groups: Groups, keys: IntArray) -> list[str]:
        """The label of each place that `keys` (g,) have won, in the voters' own word if they agree
        on one."""
        spoken, words = matching.codes_of(list(map(normalize, self.spellings)))
        agreeing = self.ballot.keys[groups.members] == keys[groups.numbers]
        said = spoken[self.spelt[groups.members[agreeing]]]
        starts = np.flatnonzero(np.diff(groups.numbers[agreeing], prepend=-1))
        least, most = np.minimum.reduceat(said, starts), np.maximum.reduceat(said, starts)
        return [
            words[one] if one == two else self.keys[key]
            for one, two, key in zip(least.tolist(), most.tolist(), keys.tolist(), strict=True)
        ]

    def votes(self, groups: Groups) -> list[tuple[Vote, ...]]:
        """The votes on each place, best first; of equal words of a source the best is its vote."""
        count, numbers = len(self.spelt), groups.numbers
        ranked = np.sort(numbers * count + groups.members)
        numbers, members = ranked // count, ranked % count
        source, spelt = self.ballot.sources[members], self.spelt[members]
        same = (numbers * len(self.sources) + source) * len(self.spellings) + spelt
        _, first = np.unique(same, return_index=True)
        first.sort()
        votes = list(
            map(
                Vote,
                map(self.sources.__getitem__, source[first].tolist()),
                map(self.spellings.__getitem__, spelt[first].tolist()),
                self.ballot.scores[members[first]].tolist(),
            )
        )
        ends = np.cumsum(np.bincount(numbers[first])).tolist()
        return [tuple(votes[start:end]) for start, end in pairwise([0, *ends])]


def observe(
    found: Sequence[Found], sizes: Sequence[Size], limits: Mapping[str, float], lexicon: Lexicon
) -> Seen:
    """The detections with labels that score at least the limit of their source and have a box
    inside their image; `sizes` are (height, width)."""
    names = tuple(sorted(limits))
    parts = [
        (n, i, one[name])
        for n, one in enumerate(found)
        for i, name in enumerate(names)
        if name in one
    ]
    every = [d for *_, part in parts for d in part]
    counts = [len(part) for *_, part in parts]
    images = np.repeat(np.array([n for n, *_ in parts], np.int64), counts)
    sources = np.repeat(np.array([i for _, i, _ in parts], np.int64), counts)
    boxes = _clipped(geometry.as_boxes([d.box for d in every]), images, sizes)
    scores = np.array([d.score for d in every], np.float64)
    spelt, spellings = matching.codes_of([d.label for d in every])
    named, keys = matching.codes_of(list(map(lexicon.key, spellings)))
    least = np.array([limits[name] for name in names])
    # NaN survives clipping and compares false here, so broken boxes fall out too.
    whole = np.all(boxes[:, 2:] > boxes[:, :2], axis=1) & np.isfinite(scores)
    blank = np.array([not key for key in keys], bool)[named]
    usable = np.flatnonzero(whole & (scores >= least[sources]) & ~blank[spelt])
    ties = (sources[usable], spelt[usable], *boxes[usable].T)
    chosen = usable[matching.order_by((images[usable], -scores[usable]), ties)]
    spelt = spelt[chosen]
    ballot = Ballot(boxes[chosen], scores[chosen], sources[chosen], named[spelt], images[chosen])
    return Seen(ballot, spelt, names, spellings, keys, _kinds(keys, lexicon))


def _clipped(boxes: FloatArray, images: IntArray, sizes: Sequence[Size]) -> FloatArray:
    """Boxes (n, 4) cut to their images."""
    limits = np.array([(width, height, width, height) for height, width in sizes], np.float32)
    return np.clip(boxes, 0, limits[images])


def _kinds(keys: tuple[str, ...], lexicon: Lexicon) -> IntArray:
    """What each canonical label is a kind of, as `Seen` has it; one more ends the table."""
    number = {key: n for n, key in enumerate(keys)}
    found = [
        n * len(keys) + number[kind]
        for n, key in enumerate(keys)
        for kind in lexicon.kinds(key)
        if kind in number
    ]
    return np.array([*sorted(found), -1], np.int64)
