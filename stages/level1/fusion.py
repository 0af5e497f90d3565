"""Detections of all models become objects: suppression per model, voting among models, ids.

Two models that put the same label on the same place make an object; where they disagree about the
label, the votes decide and every vote is kept. What only one model saw stays as a floating object
that a caption can confirm later. Labels are compared in normalised form (`labels.Lexicon`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np

from grand_pipeline import consensus, describing, geometry, matching
from grand_pipeline.columns import ATTRIBUTES, DETECTIONS, FUSED
from grand_pipeline.consensus import Ballot, Verdicts
from grand_pipeline.labels import Lexicon
from grand_pipeline.matching import Groups
from grand_pipeline.overlaps import IntArray, Pairs
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import BoolArray, Detection, Instance, Kind, Size, Status
from stages.sightings import Found, Seen, observe


@dataclass(frozen=True)
class _Clusters:
    """Detections on one place each, as indices, and what they come to."""

    members: Groups
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

    describers: tuple[str, ...] = ()
    """Sources whose labels are texts, such as GRiT's. From `group_iou` on they confirm the object
    that their box fits best, like one more vote, and the text becomes an attribute; they give no
    object a label and make none of their own."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones."""

    @property
    def reads(self) -> Reads:
        return (DETECTIONS,)

    @property
    def mentions(self) -> Writes:
        named = [source for source, _ in self.thresholds]
        return tuple(DETECTIONS.of(name) for name in dict.fromkeys((*named, *self.describers)))

    @property
    def writes(self) -> Writes:
        return (FUSED, *(ATTRIBUTES.of(source) for source in self.describers))

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        found = [record.members(DETECTIONS) for record in records]
        told = [{name: one.pop(name, ()) for name in self.describers} for one in found]
        fused = self.fuse_all(found, [record.size for record in records])
        return [
            self.described(objects, texts, record.size) if texts else {FUSED: objects}
            for objects, texts, record in zip(fused, told, records, strict=True)
        ]

    def described(self, fused: tuple[Instance, ...], told: describing.Told, size: Size) -> Row:
        """The objects, of which describers have confirmed some, and what they say of them."""
        limits = dict(self.thresholds)
        texts = {
            source: describing.usable(found, limits.get(source, self.threshold), size)
            for source, found in told.items()
        }
        rule = describing.Rule(self.group_iou, self.min_votes, self.lexicon)
        found = describing.confirm(fused, texts, rule)
        said = {ATTRIBUTES.of(source): texts for source, texts in found.attributes.items()}
        return {FUSED: found.instances, **said}

    def fuse(
        self, detections: Mapping[str, Sequence[Detection]], size: Size
    ) -> tuple[Instance, ...]:
        """Objects (voted first, each part best first) of an image of `size` (height, width)."""
        return self.fuse_all([detections], [size])[0]

    def fuse_all(self, found: Sequence[Found], sizes: Sequence[Size]) -> list[tuple[Instance, ...]]:
        """The objects of each image. All go through together, but no image meets another."""
        own = dict(self.thresholds)
        names = {name for one in found for name, detections in one.items() if detections}
        limits = {name: own.get(name, self.threshold) for name in names}
        seen = observe(found, sizes, limits, self.lexicon) if limits else None
        if seen is None or not len(seen.spelt):
            return [() for _ in found]
        uncountable = {self.lexicon.key(label) for label in self.stuff}
        stuff = np.array([key in uncountable for key in seen.keys], bool)
        clusters = self._clusters(seen, stuff)
        order = clusters.verdicts.ranked()
        ranked = clusters.verdicts.take(order)
        voted = self._objects(ranked, stuff[ranked.keys])
        kept = self._kept(ranked, voted, stuff[ranked.keys])
        kept = kept[np.lexsort((~voted[kept], ranked.images[kept]))]
        instances = self._instances(
            seen, ranked.take(kept), clusters.members.take(order[kept]), voted[kept], stuff
        )
        ends = np.searchsorted(ranked.images[kept], np.arange(len(found) + 1)).tolist()
        return [tuple(instances[start:end]) for start, end in pairwise(ends)]

    def _kept(self, ranked: Verdicts, voted: BoolArray, region: BoolArray) -> IntArray:
        """Which of the ranked clusters stay: of the regions the first of each label, and so many
        that are not voted."""
        labels = ranked.images * (int(ranked.keys.max()) + 1) + ranked.keys
        kept = np.flatnonzero(_best_per_label(labels, region))
        images, loose = ranked.images[kept], ~voted[kept]
        before: IntArray = np.cumsum(loose) - loose
        return kept[~loose | (before - before[np.searchsorted(images, images)] < self.max_floating)]

    def _objects(self, verdicts: Verdicts, region: BoolArray) -> BoolArray:
        """Which groups are objects: those with votes enough, and things sure enough on one."""
        enough = verdicts.voters >= self.min_votes
        if self.single_vote_score is None:
            return enough
        return enough | ((verdicts.scores >= self.single_vote_score) & ~region)

    def _clusters(self, seen: Seen, stuff: BoolArray) -> _Clusters:
        """Same label first, then whatever lies on the same place; things and stuff apart."""
        ballot = seen.ballot
        groups = self._groups(ballot)
        first = consensus.tally(ballot, groups)
        order = first.ranked()
        groups, first = groups.take(order), first.take(order)
        parts = self._places(first, stuff, seen)
        members = groups.joined(parts)
        joined = np.flatnonzero(parts.sizes > 1)
        again = consensus.decide(ballot, members.take(joined), seen.is_a)
        alone = first.take(parts.members[parts.starts])
        return _Clusters(members, alone.replaced(joined, again))

    def _groups(self, ballot: Ballot) -> Groups:
        """Detections of one label that vote together, each source's own repetitions left out."""
        keys = ballot.images * (int(ballot.keys.max()) + 1) + ballot.keys
        least = max(self.agreeing_iou, 1e-6)
        return matching.voting_groups(ballot.boxes, keys, ballot.sources, self.nms_iou, least)

    def _places(self, verdicts: Verdicts, stuff: BoolArray, seen: Seen) -> Groups:
        """Groups that are one place, by number; the first of each is the best."""
        voted = verdicts.voters >= self.min_votes

        def joins(pairs: Pairs) -> BoolArray:
            a, b = verdicts.keys[pairs.first], verdicts.keys[pairs.second]
            agree = seen.is_a(a, b) | seen.is_a(b, a)
            limits = np.where(agree, self.agreeing_iou, self.group_iou).astype(np.float32)
            limits[voted[pairs.first] & voted[pairs.second]] = self.conflict_iou
            return pairs.iou >= limits

        least = max(min(self.agreeing_iou, self.group_iou, self.conflict_iou), 1e-6)
        codes = 2 * verdicts.images + stuff[verdicts.keys]
        return matching.absorb(verdicts.boxes.astype(np.float32), codes, least, joins)

    def _instances(
        self, seen: Seen, verdicts: Verdicts, members: Groups, voted: BoolArray, stuff: BoolArray
    ) -> list[Instance]:
        """The clusters as instances, numbered from 0 in each image."""
        images = verdicts.images
        kinds: list[Kind | None] = [None] * len(images)
        if self.stuff:
            kinds = ["stuff" if one else "thing" for one in stuff[verdicts.keys].tolist()]
        statuses: list[Status] = ["object" if one else "floating" for one in voted.tolist()]
        return list(
            map(
                Instance,
                (np.arange(len(images)) - np.searchsorted(images, images)).tolist(),
                statuses,
                kinds,
                geometry.box_tuples(verdicts.boxes),
                verdicts.scores.tolist(),
                seen.names(members, verdicts.keys),
                seen.votes(members),
            )
        )


def _best_per_label(keys: IntArray, region: BoolArray) -> BoolArray:
    """Which of the ranked clusters stay: all things, and of the regions the first of each label."""
    stay = ~region
    if stay.all():
        return stay
    _, first = np.unique(np.where(region, keys, -1), return_index=True)
    stay[first[region[first]]] = True
    return stay
