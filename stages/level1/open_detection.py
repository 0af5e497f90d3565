"""Boxes for words: an open-vocabulary detector asked for a list of things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from grand_pipeline import geometry
from grand_pipeline.columns import DETECTIONS, TAGS
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Detection, FloatArray
from stages import detector
from stages.detector import Owl, Scored
from stages.texts import check_template, distinct, fill


@dataclass(frozen=True, kw_only=True)
class OpenDetection(Stage[Owl]):
    """Detections of fixed queries, of the image's tags, or of both.

    A box gets its best query as label. Labels are the words as given, not the filled template.
    """

    level: ClassVar[int] = 1

    source: str
    """Name of the detector in the column and in votes."""
    model: str = "google/owlv2-base-patch16-ensemble"
    """Hub id, folder or `embedded:` name of an OWL-ViT or OWLv2 checkpoint."""
    queries: tuple[str, ...] = ()
    """Words looked for in every image."""
    use_tags: bool = False
    """Look for the image's tags too, of every tagger in the plan."""
    template: str = "a photo of a {}"
    """Text put to the model; `{}` is the word."""
    threshold: float = 0.1
    """Least probability of a box's best query."""
    nms: float = 0.9
    """A box goes when its IoU with a better one exceeds this; 1 keeps all."""
    nms_per_label: bool = False
    """Suppress only boxes of the same label."""
    box_voting: float | None = None
    """Move a kept box to the mean of the boxes that overlap it by this IoU, weighed by their
    scores for its label. Helps small detectors, whose boxes scatter round an object."""
    max_boxes: int = 100
    """Most boxes of an image, best first."""
    queries_per_call: int = 64
    """Texts encoded at a time: bounds memory for long vocabularies."""

    operational: ClassVar[frozenset[str]] = Stage.operational | {"queries_per_call"}

    def __post_init__(self) -> None:
        check_template(self.template, 1)
        if not self.queries and not self.use_tags:
            raise ValueError("nothing to look for: give 'queries', or set 'use_tags'")

    @property
    def reads(self) -> Reads:
        """The image, and the tags where they are queries."""
        return (TAGS,) if self.use_tags else ()

    @property
    def writes(self) -> Writes:
        """Raw detections, best first."""
        return (DETECTIONS.of(self.source),)

    def load(self, device: str) -> Owl:
        """The model with the fixed queries already encoded."""
        model = detector.load(self.model, device, self.queries_per_call)
        model.remember(fill(self.template, word) for word in self.queries)
        return model

    def annotate(self, model: Owl, records: Sequence[Record]) -> list[Row]:
        """Detections of every image."""
        words = [self._words(record) for record in records]
        scored = model.score(
            [record.image for record in records],
            [record.size for record in records],
            [[fill(self.template, word) for word in asked] for asked in words],
        )
        column = DETECTIONS.of(self.source)
        return [
            {column: self._detections(found, asked)}
            for found, asked in zip(scored, words, strict=True)
        ]

    def _words(self, record: Record) -> tuple[str, ...]:
        if not self.use_tags:
            return distinct(self.queries)
        tags = (tag.name for found in record.members(TAGS).values() for tag in found)
        return distinct((*self.queries, *tags))

    def _detections(self, found: Scored, words: Sequence[str]) -> tuple[Detection, ...]:
        if not words:
            return ()
        best, labels = found.scores.max(axis=1), found.scores.argmax(axis=1)
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        # A box that ends up outside the image has no side left after clipping.
        usable = np.flatnonzero((best >= self.threshold) & (sides.min(axis=1) > 0))
        boxes, scores, labels = found.boxes[usable], best[usable], labels[usable]
        kept = self._suppress(boxes, scores, labels)
        if self.box_voting is not None:
            given = found.scores[usable][:, labels[kept]].T
            boxes[kept] = detector.vote(boxes[kept], boxes, given, self.box_voting)
            kept = kept[self._suppress(boxes[kept], scores[kept], labels[kept])]
        return tuple(
            Detection(geometry.as_box(boxes[i]), float(scores[i]), words[labels[i]])
            for i in kept[: self.max_boxes]
        )

    def _suppress(
        self, boxes: FloatArray, scores: FloatArray, labels: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        if self.nms_per_label and len(boxes):
            # Boxes of different labels are moved apart, so they do not meet.
            boxes = boxes + labels[:, None] * np.float32(boxes.max() + 1.0)
        return geometry.nms(boxes.astype(np.float32), scores, self.nms)
