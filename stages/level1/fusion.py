"""Detections of all models become objects: suppression per model, voting among models, ids.

Two models that put the same label on the same place make an object; where they disagree about the
label, the votes decide and every vote is kept. What only one model saw stays as a floating object
that a caption can confirm later. Labels are compared in normalised form (`labels.Lexicon`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from grand_pipeline import consensus, geometry, matching
from grand_pipeline.columns import DETECTIONS, FUSED
from grand_pipeline.consensus import Ballot, Verdicts
from grand_pipeline.labels import Lexicon, normalize
from grand_pipeline.matching import IntArray
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import BoolArray, Detection, Instance, Kind, Size, Status, Vote


@dataclass(frozen=True)
class _Seen:
    """The usable detections of an image, best first."""

    ballot: Ballot
    rows: Sequence[tuple[str, str, float, int]]
    """Source, the detector's own label, score and number of the canonical label."""
    keys: tuple[str, ...]
    """Canonical labels by number."""
    kinds: tuple[frozenset[str], ...]
    """What each canonical label is a kind of."""

    def is_a(self, label: int, kind: int) -> bool:
        """Whether a label is a kind of another, by number."""
        return self.keys[kind] in self.kinds[label]

    def told(self, members: Sequence[int], key: int) -> tuple[str, tuple[Vote, ...]]:
        """The label of a place that `key` has won, in the voters' own word if they agree on one,
        and its votes, best first; of equal words of a source the best is its vote."""
        if len(members) == 1:
            source, label, score, _ = self.rows[members[0]]
            return normalize(label), (Vote(source, label, score),)
        words: set[str] = set()
        votes: dict[tuple[str, str], Vote] = {}
        for i in sorted(members):
            source, label, score, said = self.rows[i]
            if said == key:
                words.add(normalize(label))
            if (source, label) not in votes:
                votes[source, label] = Vote(source, label, score)
        return words.pop() if len(words) == 1 else self.keys[key], tuple(votes.values())


@dataclass(frozen=True)
class _Clusters:
    """Detections on one place each, as indices, and what they come to."""

    members: Sequence[Sequence[int]]
    verdicts: Verdicts


@dataclass(frozen=True, kw_only=True)
class Fusion(Stage[None]):
    """Group the boxes of all detectors into voted and floating objects."""

    level: ClassVar[int] = 1

    threshold: float = 0.1
    """Detections below this score are ignored."""

    thresholds: tuple[tuple[str, float], ...] = ()
    """(source, threshold) pairs that replace `threshold` for single detectors."""

    nms_iou: float = 0.6
    """Of two boxes of one detector and one label, the weaker is dropped above this IoU."""

    agreeing_iou: float = 0.5
    """Boxes of different detectors with agreeing labels are one object from this IoU on."""

    group_iou: float = 0.65
    """Boxes with different labels are one object from this IoU on; the votes decide the label."""

    conflict_iou: float = 0.85
    """From this IoU on, two objects with different labels are one even if each label has enough
    votes of its own."""

    min_votes: int = 2
    """Detectors that must agree on a place to make an object; below, it floats."""

    single_vote_score: float | None = None
    """A floating thing of at least this score is an object on one vote (null: never)."""

    stuff: tuple[str, ...] = ()
    """Labels of uncountable regions; each gives at most one region. Empty: kinds are unknown."""

    max_floating: int = 100
    """Floating objects kept per image, best first."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones."""

    @property
    def reads(self) -> Reads:
        return (DETECTIONS,)

    @property
    def mentions(self) -> Writes:
        return tuple(DETECTIONS.of(source) for source, _ in self.thresholds)

    @property
    def writes(self) -> Writes:
        return (FUSED,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = []
        for record in records:
            detections = record.members(DETECTIONS)
            rows.append({FUSED: self.fuse(detections, record.size)})
        return rows

    def fuse(
        self, detections: Mapping[str, Sequence[Detection]], size: Size
    ) -> tuple[Instance, ...]:
        """Objects (voted first, each part best first) of an image of `size` (height, width)."""
        seen = self._seen(detections, size) if any(detections.values()) else None
        if seen is None or not seen.rows:
            return ()
        uncountable = {self.lexicon.key(label) for label in self.stuff}
        stuff = np.array([key in uncountable for key in seen.keys], bool)
        found = self._clusters(seen, stuff)
        verdicts = found.verdicts
        region = stuff[verdicts.keys]
        order = verdicts.ranked()
        order = order[_best_per_label(verdicts.keys[order], region[order])]
        voted = self._objects(verdicts, region)[order]
        kept = [*order[voted].tolist(), *order[~voted][: self.max_floating].tolist()]
        return self._instances(seen, found, kept, int(voted.sum()), region)

    def _objects(self, verdicts: Verdicts, region: BoolArray) -> BoolArray:
        """Which groups are objects: those with votes enough, and things sure enough on one."""
        enough = verdicts.voters >= self.min_votes
        if self.single_vote_score is None:
            return enough
        return enough | ((verdicts.scores >= self.single_vote_score) & ~region)

    def _seen(self, detections: Mapping[str, Sequence[Detection]], size: Size) -> _Seen:
        """Detections above threshold and inside the image, best first."""
        names = tuple(sorted(detections))
        every = [d for name in names for d in detections[name]]
        sources = np.repeat(np.arange(len(names)), [len(detections[name]) for name in names])
        boxes = geometry.clip(geometry.as_boxes([d.box for d in every]), size)
        scores = np.array([d.score for d in every], np.float64)
        spelt, spellings = matching.codes_of(d.label for d in every)
        named, keys = matching.codes_of(self.lexicon.key(label) for label in spellings)
        limits = np.array([dict(self.thresholds).get(n, self.threshold) for n in names])
        # NaN survives clipping and compares false here, so broken boxes fall out too.
        whole = np.all(boxes[:, 2:] > boxes[:, :2], axis=1) & np.isfinite(scores)
        blank = np.array([not keys[code] for code in named], bool)
        usable = np.flatnonzero(whole & (scores >= limits[sources]) & ~blank[spelt])
        ties = (sources[usable], spelt[usable], *boxes[usable].T)
        chosen = usable[matching.order_by((-scores[usable],), ties)]
        ballot = Ballot(boxes[chosen], scores[chosen], sources[chosen], named[spelt[chosen]])
        told = (ballot.sources.tolist(), spelt[chosen].tolist(), ballot.scores.tolist())
        rows = [
            (names[source], spellings[label], score, key)
            for source, label, score, key in zip(*told, ballot.keys.tolist(), strict=True)
        ]
        return _Seen(ballot, rows, keys, tuple(map(self.lexicon.kinds, keys)))

    def _clusters(self, seen: _Seen, stuff: BoolArray) -> _Clusters:
        """Same label first, then whatever lies on the same place; things and stuff apart."""
        ballot = seen.ballot
        groups = self._groups(ballot)
        first = consensus.tally(ballot, groups)
        order = first.ranked()
        groups, first = [groups[n] for n in order.tolist()], first.take(order)
        parts = matching.absorb(self._joining(first, stuff, seen), len(groups))
        joined = [n for n, part in enumerate(parts) if len(part) > 1]
        members = [[i for index in part for i in groups[index]] for part in parts]
        alone = first.take(np.array([part[0] for part in parts], np.int64))
        again = consensus.decide(ballot, [members[n] for n in joined], seen.is_a)
        return _Clusters(members, alone.replaced(joined, again))

    def _groups(self, ballot: Ballot) -> list[list[int]]:
        """Detections of one label that vote together, each source's own repetitions left out."""
        own = ballot.sources * (int(ballot.keys.max()) + 1) + ballot.keys
        kept = np.array(matching.suppress(ballot.boxes, ballot.scores, own, self.nms_iou), np.int64)
        sources = ballot.sources[kept]
        pairs = matching.overlapping(
            ballot.boxes[kept], ballot.keys[kept], max(self.agreeing_iou, 1e-6)
        )
        apart = pairs.where(sources[pairs.first] != sources[pairs.second])
        names = kept.tolist()
        return [[names[i] for i in group] for group in matching.voting_groups(apart, sources)]

    def _joining(self, verdicts: Verdicts, stuff: BoolArray, seen: _Seen) -> matching.Pairs:
        """Pairs of groups that are one place."""
        boxes = verdicts.boxes.astype(np.float32)
        least = min(self.agreeing_iou, self.group_iou, self.conflict_iou)
        pairs = matching.overlapping(boxes, stuff[verdicts.keys].astype(np.int64), max(least, 1e-6))
        a, b = verdicts.keys[pairs.first], verdicts.keys[pairs.second]
        agree = np.array(
            [
                seen.is_a(i, j) or seen.is_a(j, i)
                for i, j in zip(a.tolist(), b.tolist(), strict=True)
            ],
            bool,
        )
        voted = verdicts.voters >= self.min_votes
        limits = np.where(agree, self.agreeing_iou, self.group_iou).astype(np.float32)
        limits[voted[pairs.first] & voted[pairs.second]] = self.conflict_iou
        return pairs.where(pairs.iou >= limits)

    def _instances(
        self, seen: _Seen, found: _Clusters, kept: Sequence[int], voted: int, region: BoolArray
    ) -> tuple[Instance, ...]:
        """The clusters `kept` as instances, the first `voted` of them objects."""
        boxes = found.verdicts.boxes.tolist()
        scores, keys = found.verdicts.scores.tolist(), found.verdicts.keys.tolist()
        kinds: list[Kind | None] = [None] * len(boxes)
        if self.stuff:
            kinds = ["stuff" if one else "thing" for one in region.tolist()]
        instances: list[Instance] = []
        for index, n in enumerate(kept):
            x1, y1, x2, y2 = boxes[n]
            status: Status = "object" if index < voted else "floating"
            label, votes = seen.told(found.members[n], keys[n])
            instances.append(
                Instance(index, status, kinds[n], (x1, y1, x2, y2), scores[n], label, votes)
            )
        return tuple(instances)


def _best_per_label(keys: IntArray, region: BoolArray) -> BoolArray:
    """Which of the ranked clusters stay: all things, and of the regions the first of each label."""
    stay = ~region
    if stay.all():
        return stay
    _, first = np.unique(np.where(region, keys, -1), return_index=True)
    stay[first[region[first]]] = True
    return stay
