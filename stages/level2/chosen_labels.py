"""Labels that a model chose elsewhere, box by box, become the labels of the objects there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline import geometry
from grand_pipeline.columns import ASSIGNED, INSTANCES, LABEL_CHOICES
from grand_pipeline.labels import normalize
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import AssignedLabel, Instance, RegionText


@dataclass(frozen=True, kw_only=True)
class ChosenLabels(Stage[None]):
    """One label per object: the one chosen for its box, or else its own."""

    level: ClassVar[int] = 2

    match_iou: float = 0.65
    """Least IoU between the boxes of a choice and of its object."""

    @property
    def reads(self) -> Reads:
        """Objects and choices of every source."""
        return (INSTANCES, LABEL_CHOICES)

    @property
    def writes(self) -> Writes:
        """One label per object, in the order of the objects, in normal form."""
        return (ASSIGNED,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        """Labels of every image."""
        return [
            {
                ASSIGNED: self.assigned(
                    record[INSTANCES],
                    [c for found in record.members(LABEL_CHOICES).values() for c in found],
                )
            }
            for record in records
        ]

    def assigned(
        self, instances: tuple[Instance, ...], choices: Sequence[RegionText]
    ) -> tuple[AssignedLabel, ...]:
        """The label of the best fitting choice; of equal overlaps the first choice wins."""
        overlap = geometry.iou(
            geometry.as_boxes([instance.box for instance in instances]),
            geometry.as_boxes([choice.box for choice in choices]),
        )
        found: list[AssignedLabel] = []
        for instance, row in zip(instances, overlap, strict=True):
            best = int(row.argmax()) if len(row) else 0
            fits = bool(len(row)) and row[best] >= self.match_iou
            label = normalize(choices[best].text) if fits else ""
            score = choices[best].score if fits else None
            found.append(AssignedLabel(instance.id, label or instance.label, score))
        return tuple(found)
