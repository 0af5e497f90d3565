"""GranD's voting: boxes of all models become objects where two models see the same place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from grand_pipeline.columns import ATTRIBUTES, DETECTIONS, FUSED
from grand_pipeline.grand_v1 import voting
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Attribute, Detection, Instance, Size


@dataclass(frozen=True, kw_only=True)
class GrandV1Fusion(Stage[None]):
    """Suppression per model, thresholds, greedy groups by rank of the models, two votes, persons.

    Sources are compared with `-` and `_` alike. Writes the texts of describers as attributes.
    """

    level: ClassVar[int] = 1

    order: tuple[str, ...] = (
        *("eva_02_01", "co_detr", "eva_02_02", "ov_sam", "owl_vit", "pomp"),
        "grit",
    )
    """Sources by rank: the first gives an object its box and score. Others follow by name."""

    describers: tuple[str, ...] = ("grit",)
    """Sources whose labels are texts: they rank last, vote without a label, describe objects."""

    floor: float = 0.1
    """Detections below this score are ignored before suppression."""

    nms_iou: float = 0.9
    """Of two boxes of one source, whatever their labels, the weaker goes above this IoU."""

    thresholds: tuple[tuple[str, float], ...] = (
        *(("eva_02_01", 0.6), ("co_detr", 0.2), ("eva_02_02", 0.6), ("ov_sam", 0.3)),
        *(("owl_vit", 0.1), ("pomp", 0.3), ("grit", 0.3)),
    )
    """(source, score) pairs: detections have to score more."""

    other_threshold: float = 0.3
    """The same for sources that `thresholds` does not name."""

    person_thresholds: tuple[tuple[str, float], ...] = (
        *(("eva_02_01", 0.2), ("co_detr", 0.2), ("eva_02_02", 0.2)),
    )
    """(source, score) pairs for persons, in place of `thresholds`."""

    single_person: tuple[tuple[str, float], ...] = (
        *(("eva_02_01", 0.75), ("co_detr", 0.5), ("eva_02_02", 0.75)),
        *(("owl_vit", 0.2), ("pomp", 0.6)),
    )
    """(source, score) pairs: above, a person is an object on one vote."""

    group_iou: float = 0.65
    """Boxes of different sources are one object from this IoU on."""

    decimals: int = 2
    """Digits behind the point with which scores are compared, as they stand in GranD's files."""

    defects: tuple[Literal["D1", "D13"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    @property
    def reads(self) -> Reads:
        return (DETECTIONS,)

    @property
    def writes(self) -> Writes:
        return (FUSED, *(ATTRIBUTES.of(source) for source in self.describers))

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = []
        for record in records:
            fused = self.fuse(record.members(DETECTIONS), record.size)
            texts = {ATTRIBUTES.of(s): _texts(fused, s) for s in self.describers}
            rows.append({FUSED: fused, **texts})
        return rows

    def fuse(
        self, detections: Mapping[str, tuple[Detection, ...]], size: Size
    ) -> tuple[Instance, ...]:
        """Objects, then floating ones, of an image of `size` (height, width)."""
        given = voting.overwritten(detections, self.defects)
        describers = {voting.folded(name) for name in self.describers}
        describing = frozenset(s for s in given if voting.folded(s) in describers)
        seen = [
            voting.Seen(source, rank, detection)
            for source, rank in self._ranks(given, describing).items()
            for detection in voting.usable(
                given[source], size, self.floor, self.nms_iou, self.decimals
            )
        ]
        thresholds = voting.Thresholds(
            dict(self.thresholds),
            self.other_threshold,
            dict(self.person_thresholds),
            dict(self.single_person),
            self.decimals,
        )
        return voting.fuse(seen, self.group_iou, describing, thresholds, self.defects)

    def _ranks(self, given: Iterable[str], describing: Collection[str]) -> dict[str, int]:
        """Sources by rank: named ones, others by name, describers last and all alike."""
        places = {name: rank for rank, name in enumerate(self.order)}
        labelling = sorted(
            (source for source in given if source not in describing),
            key=lambda source: (places.get(voting.folded(source), len(places)), source),
        )
        ranks = {source: rank for rank, source in enumerate(labelling)}
        return ranks | {source: len(labelling) for source in sorted(describing)}


def _texts(fused: Sequence[Instance], source: str) -> tuple[Attribute, ...]:
    """What a describer says of the objects it voted for."""
    return tuple(
        Attribute(instance.id, source, vote.label)
        for instance in fused
        for vote in instance.votes
        if voting.folded(vote.source) == voting.folded(source)
    )
