"""GranD's masks: a fitting automatic one, else a detector's, else one by box prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from grand_pipeline import geometry
from grand_pipeline.columns import DETECTIONS, INSTANCES, MASKS, SEGMENTS
from grand_pipeline.grand_v1 import masks, voting
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Box, Instance, MaskSource, ObjectMask, Rle
from stages import hub, sam
from stages.sam import Embedded, Sam

Ready = tuple[Box, Rle, float]
"""A mask made earlier: its box, itself, its score."""


@dataclass(frozen=True, kw_only=True)
class GrandV1Masks(Stage[Sam]):
    """Masks of all objects, floating ones too, in the order of the objects.

    An object takes over the box of an automatic or detector's mask.
    """

    level: ClassVar[int] = 1

    batch_size: int = 4
    model: str = "facebook/sam-vit-base"
    """Hub id, folder or `embedded:` name of a SAM checkpoint, for the box prompts."""
    dtype: hub.Dtype = "float32"
    """Number format of the image encoder: float32, bfloat16 or float16."""
    match_iou: float = 0.65
    """Least IoU between the boxes of a mask and of an object."""
    detectors: tuple[str, ...] = ("eva_02_01",)
    """Sources whose masks may be used."""
    prompts_per_call: int = 64
    """Box prompts decoded at a time: bounds memory."""
    defects: tuple[Literal["D2", "D9"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    operational: ClassVar[frozenset[str]] = Stage.operational | {"prompts_per_call"}

    @property
    def reads(self) -> Reads:
        return (INSTANCES, SEGMENTS, DETECTIONS)

    @property
    def writes(self) -> Writes:
        return (MASKS,)

    @property
    def extras(self) -> tuple[str, ...]:
        """That of the original SAM, if its checkpoint is named."""
        return sam.extras(self.model)

    def load(self, device: str) -> Sam:
        """The segmenter for the box prompts."""
        return sam.load(self.model, device, self.dtype)

    def annotate(self, model: Sam, records: Sequence[Record]) -> list[Row]:
        """Masks of every image; those that need a prompt are encoded together."""
        ready = [self.ready(record) for record in records]
        asked = [n for n, record in enumerate(records) if len(ready[n]) < len(record[INSTANCES])]
        images = [records[n].image for n in asked]
        found = model.embed(images, [records[n].size for n in asked]) if asked else []
        embedded = dict(zip(asked, found, strict=True))
        rows: list[Row] = []
        for n, record in enumerate(records):
            instances = record[INSTANCES]
            left = [i for i in instances if i.id not in ready[n]]
            made = ready[n] | (self._prompted(model, embedded[n], left) if left else {})
            rows.append({MASKS: tuple(made[i.id] for i in instances)})
        return rows

    def ready(self, record: Record) -> dict[int, ObjectMask]:
        """Masks that exist already, by object id."""
        usable = {voting.folded(name) for name in self.detectors}
        automatic = [(s.box, s.mask, s.predicted_iou) for s in record[SEGMENTS]]
        detected = [
            (detection.box, detection.mask, detection.score)
            for source, detections in record.members(DETECTIONS).items()
            for detection in detections
            if voting.folded(source) in usable and detection.mask is not None
        ]
        pools: tuple[tuple[MaskSource, list[Ready]], ...]
        pools = (("auto", automatic), ("detector", detected))
        found: dict[int, ObjectMask] = {}
        for source, pool in pools:
            left = [i for i in record[INSTANCES] if i.id not in found]
            found |= self._matched(left, pool, source)
        return found

    def _matched(
        self, instances: Sequence[Instance], pool: Sequence[Ready], source: MaskSource
    ) -> dict[int, ObjectMask]:
        objects, boxes = [i.box for i in instances], [box for box, _, _ in pool]
        pairs = masks.match(objects, boxes, self.match_iou, self.defects)
        found: dict[int, ObjectMask] = {}
        for row, column in pairs.items():
            box, mask, score = pool[column]
            found[instances[row].id] = ObjectMask(instances[row].id, mask, source, score, box)
        return found

    def _prompted(
        self, model: Sam, embedded: Embedded, instances: Sequence[Instance]
    ) -> dict[int, ObjectMask]:
        boxes = geometry.as_boxes([masks.prompt(i.box, self.defects) for i in instances])
        logits, scores = model.by_boxes(embedded, boxes, self.prompts_per_call)
        made = zip(instances, model.full(embedded, logits), scores, strict=True)
        return {
            i.id: ObjectMask(i.id, geometry.rle_encode(mask), "box", float(score))
            for i, mask, score in made
        }
