"""One mask for every object: an automatic mask, a detector's mask, or a box prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import DETECTIONS, INSTANCES, MASKS, SEGMENTS
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import (
    BoolArray,
    Box,
    FloatArray,
    Instance,
    MaskSource,
    ObjectMask,
    Rle,
    Size,
)
from stages import hub, sam
from stages.sam import Embedded, Sam

Ready = tuple[Box, Rle, float]
"""A mask made earlier: its box, itself, its score."""


@dataclass(frozen=True)
class _Work:
    """One image: its objects, masks made earlier and the objects to prompt, by position."""

    record: Record
    instances: Sequence[Instance]
    ready: Mapping[int, ObjectMask]
    wanted: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Masks(Stage[Sam | None]):
    """Masks of all objects, floating ones and stuff included, in the order of the objects.

    An object whose every mask comes out empty gets its filled box with score 0, so that no object
    is without a mask. Without a model nothing is computed: only masks that others have made are
    matched, and an image's pixels are not looked at.
    """

    version: ClassVar[int] = 2
    level: ClassVar[int] = 1

    batch_size: int = 4
    model: str = "facebook/sam-vit-base"
    """Hub id, folder or `embedded:` name of a SAM, SAM-HQ or SAM 2 checkpoint, or a `.pth` file of
    the original package, for the box prompts. "": no model and no box prompts."""
    dtype: hub.Dtype = "float32"
    """Number format of the image encoder: float32, bfloat16 or float16."""
    prefer: Literal["auto", "prompt"] = "auto"
    """auto: a fitting automatic mask, else a fitting detector's mask, else a box prompt.
    prompt: a box prompt for every object, the others only where that comes out empty."""
    match_segments: bool = True
    """Use automatic masks at all; without, the plan needs no segments."""
    match_detections: bool = True
    """Use masks of detectors at all."""
    match_iou: float = 0.65
    """Least IoU between the boxes of a mask and of an object."""
    box_margin: float = 0.1
    """A prompted mask is cut to the box widened by this share of its sides."""
    boxes: Literal["detector", "mask"] = "mask"
    """The box of an object from here on, as published and as relations take it. mask: the tight box
    of its mask, as in COCO, if mask and object agree on the place (`box_iou`); so box and mask tell
    the same and the box ends where the object does, which few detectors' boxes do. detector: always
    the object's own, as in GranD."""
    box_iou: float = 0.5
    """Least IoU of a mask's tight box with the object's own box to take its place. Below, the mask
    shows a part of the object or something else beside it. A filled box never does."""
    fill: bool = True
    """Whether an object that no mask comes out for gets its filled box, of source `box` and with
    score 0. Without, it has no mask."""
    prompts_per_call: int = 64
    """Box prompts decoded at a time: bounds memory."""

    operational: ClassVar[frozenset[str]] = Stage.operational | {"prompts_per_call"}

    def __post_init__(self) -> None:
        if self.model:
            return
        if self.prefer == "prompt":
            raise ValueError('prefer = "prompt" needs a model for the box prompts')
        if not (self.match_segments or self.match_detections):
            raise ValueError("without a model, match_segments or match_detections has to be on")

    @property
    def reads(self) -> Reads:
        """Objects and the masks there are already."""
        segments = (SEGMENTS,) if self.match_segments else ()
        detections = (DETECTIONS,) if self.match_detections else ()
        return (INSTANCES, *segments, *detections)

    @property
    def writes(self) -> Writes:
        """Masks."""
        return (MASKS,)

    @property
    def needs_image(self) -> bool:
        """Only for box prompts."""
        return bool(self.model)

    @property
    def extras(self) -> tuple[str, ...]:
        """That of the original SAM, if its checkpoint is named."""
        return sam.extras(self.model)

    def load(self, device: str) -> Sam | None:
        """The segmenter for the box prompts, if there are any."""
        return sam.load(self.model, device, self.dtype) if self.model else None

    def annotate(self, model: Sam | None, records: Sequence[Record]) -> list[Row]:
        """Masks of every image; those that need a prompt are encoded together."""
        work = [self._prepare(record) for record in records]
        if model is None:
            return [{MASKS: self._all(one, one.ready)} for one in work]
        asked = {n: one.record for n, one in enumerate(work) if one.wanted}
        embedded: dict[int, Embedded] = {}
        if asked:
            images = [record.image for record in asked.values()]
            found = model.embed(images, [record.size for record in asked.values()])
            embedded = dict(zip(asked, found, strict=True))
        return [{MASKS: self._masks(model, one, embedded.get(n))} for n, one in enumerate(work)]

    def _prepare(self, record: Record) -> _Work:
        instances = record[INSTANCES]
        ready = self._ready(record, instances)
        always = self.prefer == "prompt"
        wanted = [n for n in range(len(instances)) if always or n not in ready]
        return _Work(record, instances, ready, wanted)

    def _ready(self, record: Record, instances: Sequence[Instance]) -> dict[int, ObjectMask]:
        """Masks that exist already, by position of their object."""
        boxes = geometry.as_boxes([instance.box for instance in instances])
        pools: list[tuple[MaskSource, list[Ready]]] = []
        if self.match_segments:
            segments = record[SEGMENTS]
            pools.append(("auto", [(s.box, s.mask, s.predicted_iou) for s in segments]))
        if self.match_detections:
            pools.append(("detector", _detected(record)))
        found: dict[int, ObjectMask] = {}
        for source, pool in pools:
            left = [n for n in range(len(instances)) if n not in found]
            candidates = geometry.as_boxes([box for box, _, _ in pool])
            for row, column in match(boxes[left], candidates, self.match_iou).items():
                _, mask, score = pool[column]
                at = left[row]
                found[at] = self._mask(instances[at], mask, source, score)
        return found

    def _masks(self, model: Sam, work: _Work, embedded: Embedded | None) -> tuple[ObjectMask, ...]:
        prompted = {} if embedded is None else self._prompted(model, work, embedded)
        return self._all(work, {**work.ready, **prompted})

    def _all(self, work: _Work, made: Mapping[int, ObjectMask]) -> tuple[ObjectMask, ...]:
        """The masks `made`, by position of their object, and filled boxes for the rest."""
        return tuple(
            made[n] if n in made else _filled(instance.id, instance.box, work.record.size)
            for n, instance in enumerate(work.instances)
            if n in made or self.fill
        )

    def _prompted(self, model: Sam, work: _Work, embedded: Embedded) -> dict[int, ObjectMask]:
        """Non-empty masks by box prompt, by position of their object."""
        instances = [work.instances[n] for n in work.wanted]
        boxes = geometry.as_boxes([instance.box for instance in instances])
        logits, scores = model.by_boxes(embedded, boxes, self.prompts_per_call)
        full = model.full(embedded, logits)
        found: dict[int, ObjectMask] = {}
        for position, instance, mask, score in zip(
            work.wanted, instances, full, scores, strict=True
        ):
            near = mask & window(instance.box, work.record.size, self.box_margin)
            if near.any():
                coded = geometry.rle_encode(near)
                found[position] = self._mask(instance, coded, "box", float(score))
        return found

    def _mask(self, instance: Instance, mask: Rle, source: MaskSource, score: float) -> ObjectMask:
        """The mask, with its tight box where that becomes the object's."""
        tight = geometry.rle_box(mask)
        overlap = geometry.iou(geometry.as_boxes([tight]), geometry.as_boxes([instance.box]))
        taken = self.boxes == "mask" and float(overlap[0, 0]) >= self.box_iou
        return ObjectMask(instance.id, mask, source, score, tight if taken else None)


def match(boxes: FloatArray, candidates: FloatArray, least: float) -> dict[int, int]:
    """One-to-one assignment, box -> candidate, with the highest total IoU, each >= `least`."""
    from scipy.optimize import linear_sum_assignment

    overlap = geometry.iou(boxes, candidates)
    # Pairs below the limit count nothing, so they can not push a good pair out.
    rows, columns = linear_sum_assignment(np.where(overlap >= least, overlap, 0), maximize=True)
    good = overlap[rows, columns] >= least
    return dict(zip(rows[good].tolist(), columns[good].tolist(), strict=True))


def window(box: Box, size: Size, margin: float) -> BoolArray:
    """Mask (height, width) of `box` widened by `margin` of its sides; at least one pixel."""
    height, width = size
    x1, y1, x2, y2 = box
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    left = min(max(0, math.floor(x1 - dx)), width - 1)
    top = min(max(0, math.floor(y1 - dy)), height - 1)
    mask = np.zeros(size, bool)
    mask[top : max(top + 1, math.ceil(y2 + dy)), left : max(left + 1, math.ceil(x2 + dx))] = True
    return mask


def _detected(record: Record) -> list[Ready]:
    """Masks that came with detections."""
    return [
        (detection.box, detection.mask, detection.score)
        for detections in record.members(DETECTIONS).values()
        for detection in detections
        if detection.mask is not None
    ]


def _filled(object_id: int, box: Box, size: Size) -> ObjectMask:
    return ObjectMask(object_id, geometry.rle_encode(window(box, size, 0.0)), "box", 0.0)
