"""What a model that ran elsewhere said of boxes becomes attributes of the objects there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline import geometry
from grand_pipeline.columns import ATTRIBUTES, DESCRIPTIONS, INSTANCES
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Attribute, Instance, RegionText


@dataclass(frozen=True, kw_only=True)
class Described(Stage[None]):
    """Each text goes to the object whose box it fits best; one without object goes nowhere."""

    level: ClassVar[int] = 1

    source: str
    """Whose texts: `descriptions.SOURCE`."""

    match_iou: float = 0.65
    """Least IoU between the boxes of a text and of its object."""

    @property
    def reads(self) -> Reads:
        """Objects and texts."""
        return (INSTANCES, DESCRIPTIONS.of(self.source))

    @property
    def writes(self) -> Writes:
        """Attributes, in the order of the texts."""
        return (ATTRIBUTES.of(self.source),)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        """Attributes of every image."""
        column = DESCRIPTIONS.of(self.source)
        return [
            {ATTRIBUTES.of(self.source): self.attributes(record[INSTANCES], record[column])}
            for record in records
        ]

    def attributes(
        self, instances: tuple[Instance, ...], told: tuple[RegionText, ...]
    ) -> tuple[Attribute, ...]:
        """The texts by object; of equal overlaps the first object wins."""
        if not instances or not told:
            return ()
        overlap = geometry.iou(
            geometry.as_boxes([text.box for text in told]),
            geometry.as_boxes([instance.box for instance in instances]),
        )
        best = overlap.argmax(axis=1)
        return tuple(
            Attribute(instances[index].id, self.source, text.text)
            for row, (text, index) in enumerate(zip(told, best, strict=True))
            if overlap[row, index] >= self.match_iou
        )
