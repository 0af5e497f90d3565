"""Level 1: from the detections of all models to objects and floating objects."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.grand_v1 import boxes
from grand_pipeline.grand_v1.people import is_person
from grand_pipeline.types import Detection, Instance, Size, Status, Vote

Limits = Mapping[str, float]
"""Source -> score; sources are spelt with underscores (`folded`)."""


@dataclass(frozen=True)
class Seen:
    """A detection with the name and the rank of its source; low ranks come first."""

    source: str
    rank: int
    detection: Detection


@dataclass(frozen=True)
class Thresholds:
    """Scores that a detection has to exceed, by source; `other` for sources not named.

    `person` replaces them for persons, `single` makes a person an object on one vote. Scores are
    compared as GranD's files have them, with `decimals` digits; what is kept is not rounded.
    """

    by_source: Limits
    other: float
    person: Limits
    single: Limits
    decimals: int

    def of(self, source: str) -> float:
        """The threshold of a source."""
        return self.by_source.get(folded(source), self.other)

    def passes(self, source: str, detection: Detection, defects: Collection[str]) -> bool:
        """Whether a detection takes part at all."""
        limit = self.of(source)
        if is_person(detection.label, defects):
            limit = self.person.get(folded(source), limit)
        return round(detection.score, self.decimals) > limit

    def status_alone(
        self, source: str, detection: Detection, defects: Collection[str]
    ) -> Status | None:
        """What becomes of a box that no other model saw; None: it is dropped.

        Meant: a person that its source is sure enough of is an object, other persons float if
        they pass the source's own threshold. D13: persons of sources without a threshold for
        persons, the open-vocabulary ones, are dropped.
        """
        if not is_person(detection.label, defects):
            return "floating"
        if "D13" in defects and folded(source) not in self.person:
            return None
        score = round(detection.score, self.decimals)
        if score > self.single.get(folded(source), math.inf):
            return "object"
        return "floating" if score > self.of(source) else None


def folded(source: str) -> str:
    """A source's name for look-up: `eva-02-01` and `eva_02_01` are one."""
    return source.replace("-", "_")


def usable(
    detections: Sequence[Detection], size: Size, floor: float, nms_iou: float, decimals: int
) -> list[Detection]:
    """Detections of one model with a score of at least `floor`, suppressed whatever their label,
    best first; scores are compared with `decimals` digits.

    Boxes are cut to the image of `size` (height, width); empty and broken ones are left out. Of
    two boxes with an IoU above `nms_iou` the weaker goes.
    """
    cut = geometry.clip(geometry.as_boxes([d.box for d in detections]), size)
    whole = np.all(cut[:, 2:] > cut[:, :2], axis=1).tolist()
    found = [
        Detection(geometry.as_box(box), d.score, d.label)
        for d, box, fits in zip(detections, cut, whole, strict=True)
        if fits and math.isfinite(d.score) and round(d.score, decimals) >= floor
    ]
    found.sort(key=lambda d: (-round(d.score, decimals), d.label, d.box))
    scores = np.array([round(d.score, decimals) for d in found], np.float32)
    kept = geometry.nms(geometry.as_boxes([d.box for d in found]), scores, nms_iou)
    return [found[index] for index in kept.tolist()]


def overwritten(
    detections: Mapping[str, tuple[Detection, ...]], defects: Collection[str]
) -> Mapping[str, tuple[Detection, ...]]:
    """D1: the second run of EVA-02 is written over the first; meant: both vote."""
    names = {folded(source): source for source in detections}
    if "D1" not in defects or "eva_02_02" not in names:
        return detections
    first = names.get("eva_02_01", "eva-02-01")
    others = {s: d for s, d in detections.items() if folded(s) != "eva_02_02"}
    return {**others, first: detections[names["eva_02_02"]]}


def grouped(seen: Sequence[Seen], least: float) -> list[list[int]]:
    """Greedy groups of boxes by rank of their models, then score: a partition of all indices.

    A free box takes every free box of every later model with an IoU of at least `least`, whatever
    the labels. Each group begins with its anchor. GranD asks for a Dice score of 0.75 beside an
    IoU of 0.65, which an IoU of 0.6 implies (D12), so it is not computed.
    """
    order = sorted(range(len(seen)), key=lambda i: seen[i].rank)
    ranks = np.array([one.rank for one in seen], np.int64)
    placed = [one.detection.box for one in seen]
    partners = (boxes.iou(placed, placed) >= least) & (ranks[:, None] < ranks[None, :])
    free = np.ones(len(seen), bool)
    groups: list[list[int]] = []
    for anchor in order:
        if free[anchor]:
            joined = np.flatnonzero(partners[anchor] & free)
            free[joined] = False
            free[anchor] = False
            # By rank, as GranD walks through the models.
            groups.append([anchor, *sorted(joined.tolist(), key=lambda i: (ranks[i], i))])
    return groups


def fuse(
    seen: Sequence[Seen],
    least: float,
    describers: Collection[str],
    thresholds: Thresholds,
    defects: Collection[str] = (),
) -> tuple[Instance, ...]:
    """Voted objects, then floating ones, each in the order of their anchors; ids count them.

    Boxes of `describers` vote with a text instead of a label; alone they are floating attributes,
    which have no id and stay in the detections.
    """
    usable_ones = [s for s in seen if thresholds.passes(s.source, s.detection, defects)]
    voted: list[list[Seen]] = []
    floating: list[list[Seen]] = []
    for indices in grouped(usable_ones, least):
        group = [usable_ones[index] for index in indices]
        anchor = group[0]
        if len(group) > 1:
            voted.append(group)
        elif anchor.source not in describers:
            status = thresholds.status_alone(anchor.source, anchor.detection, defects)
            if status is not None:
                (voted if status == "object" else floating).append(group)
    return tuple(
        _instance(index, "object" if index < len(voted) else "floating", group)
        for index, group in enumerate((*voted, *floating))
    )


def _instance(index: int, status: Status, group: Sequence[Seen]) -> Instance:
    anchor = group[0].detection
    votes = {(s.source, s.detection.label): s.detection.score for s in reversed(group)}
    ordered = dict.fromkeys((s.source, s.detection.label) for s in group)
    return Instance(
        index, status, None, anchor.box, anchor.score, anchor.label,
        tuple(Vote(source, label, votes[source, label]) for source, label in ordered),
    )  # fmt: skip
