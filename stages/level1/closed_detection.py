"""Boxes of the classes that a detector was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import DETECTIONS
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Detection, FloatArray
from stages import closed_set, detector, hub
from stages.closed_set import UNUSED, ClosedSet
from stages.detector import Scored


@dataclass(frozen=True, kw_only=True)
class ClosedDetection(Stage[ClosedSet]):
    """Detections of a DETR, Deformable DETR, RT-DETRv2 or D-FINE.

    Labels are those of the checkpoint's config. A model that judges every class by itself can see
    several in one box, and each is a detection.
    """

    level: ClassVar[int] = 1

    source: str
    """Name of the detector in the column and in votes."""
    model: str = "PekingU/rtdetr_v2_r50vd"
    """Hub id, folder or `embedded:` name of an object detection checkpoint. Those with a backbone
    of timm need that package; `facebook/detr-resnet-50@no_timm` is DETR without."""
    keep: tuple[str, ...] = ()
    """Labels that count, as the checkpoint spells them; all if empty."""
    rename: tuple[tuple[str, str], ...] = ()
    """Pairs of the checkpoint's label and the one to write. Labels that get one name are one
    class: their boxes suppress each other."""
    threshold: float = 0.3
    """Least probability of a class."""
    nms: float = 1.0
    """A box goes when its IoU with a better one exceeds this; 1 keeps all, which fits models that
    are trained to give an object one box."""
    nms_per_label: bool = False
    """Suppress only boxes of the same label."""
    max_boxes: int = 100
    """Most boxes of an image, best first."""
    dtype: hub.Dtype = "float32"
    """Numbers the model computes in; with 16 bits boxes are off by up to a pixel in 250."""

    def __post_init__(self) -> None:
        renamed = [old for old, _ in self.rename]
        if len(renamed) != len(set(renamed)):
            raise ValueError("'rename' gives one label two names")

    @property
    def reads(self) -> Reads:
        """The image alone."""
        return ()

    @property
    def writes(self) -> Writes:
        """Raw detections, best first."""
        return (DETECTIONS.of(self.source),)

    def load(self, device: str) -> ClosedSet:
        """The model. Raises SettingsError for a label in the options that it does not have."""
        model = closed_set.load(self.model, device, self.dtype)
        for label in (*self.keep, *(old for old, _ in self.rename)):
            if label not in model.labels:
                raise SettingsError(
                    f"stage '{self.key}': model '{self.model}' has no label '{label}'."
                    f"{suggest(label, set(model.labels))}"
                )
        return model

    def annotate(self, model: ClosedSet, records: Sequence[Record]) -> list[Row]:
        """Detections of every image."""
        scored = model.score([r.image for r in records], [r.size for r in records])
        names, owners = self._names(model.labels)
        return [
            {DETECTIONS.of(self.source): self._detections(found, names, owners)} for found in scored
        ]

    def _names(self, labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
        """The labels to write, and the model's classes that each stands for."""
        new = dict(self.rename)
        owners: dict[str, list[int]] = {}
        for number, label in enumerate(labels):
            if label in self.keep or (not self.keep and label != UNUSED):
                owners.setdefault(new.get(label, label), []).append(number)
        return tuple(owners), tuple(tuple(numbers) for numbers in owners.values())

    def _detections(
        self, found: Scored, names: Sequence[str], owners: Sequence[Sequence[int]]
    ) -> tuple[Detection, ...]:
        scores = _merged(found.scores, owners)
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        # A box that ends up outside the image has no side left after clipping.
        scores[sides.min(axis=1) <= 0] = -1.0
        rows, labels = np.nonzero(scores >= self.threshold)
        boxes, chances = found.boxes[rows], scores[rows, labels]
        kept = detector.suppress(boxes, chances, labels, self.nms, self.nms_per_label)
        return tuple(
            Detection(geometry.as_box(boxes[i]), float(chances[i]), names[labels[i]])
            for i in kept[: self.max_boxes]
        )


def _merged(scores: FloatArray, owners: Sequence[Sequence[int]]) -> FloatArray:
    """Scores (n, names) from those of classes (n, c): the best class of each name."""
    columns = [scores[:, list(numbers)].max(axis=1) for numbers in owners]
    return np.stack(columns, axis=1)
