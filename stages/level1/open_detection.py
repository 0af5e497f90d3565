"""Boxes for words: an open-vocabulary detector asked for a list of things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import DETECTIONS, QUERY_GROUPS, TAGS
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Detection
from stages import detector, hub
from stages.detector import Detector, Options, Scored
from stages.texts import check_template, distinct, fill


@dataclass(frozen=True, kw_only=True)
class OpenDetection(Stage[Detector]):
    """Detections of fixed queries, of the image's tags, or of both.

    A box gets its best query as label. Labels are the words as given, not the filled template.

    OWL-ViT and OWLv2 answer each query by itself. Grounding DINO and MM-Grounding-DINO read many
    in one prompt, and what one of them gets depends on the others: `query_groups` has the sizes of
    the groups. In order, they divide the list of `queries` followed by the image's tags (source by
    source), without words that read the same as an earlier one.
    """

    version: ClassVar[int] = 2
    level: ClassVar[int] = 1

    source: str
    """Name of the detector in the column and in votes."""
    model: str = "google/owlv2-base-patch16-ensemble"
    """Hub id, folder or `embedded:` name of an OWL-ViT, OWLv2, Grounding DINO or MM-Grounding-DINO
    checkpoint."""
    queries: tuple[str, ...] = ()
    """Words looked for in every image."""
    use_tags: bool = False
    """Look for the image's tags too, of every tagger in the plan."""
    template: str = "a photo of a {}"
    """Text put to the model; `{}` is the word. Grounding DINO is trained on bare words, "{}"."""
    labels_per_prompt: int = 80
    """Grounding DINO: most words of a prompt. Long words fill its 256 tokens earlier."""
    token_score: Literal["max", "mean"] = "max"
    """Grounding DINO: a word scores like the best of its tokens, or like all on average."""
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
    dtype: hub.Dtype = "float32"
    """Numbers the model computes in; with 16 bits boxes are off by up to a pixel in 250."""
    queries_per_call: int = 64
    """OWL: texts encoded at a time: bounds memory for long vocabularies."""

    operational: ClassVar[frozenset[str]] = Stage.operational | {"queries_per_call"}

    def __post_init__(self) -> None:
        check_template(self.template, 1)
        if not self.queries and not self.use_tags:
            raise ValueError("nothing to look for: give 'queries', or set 'use_tags'")
        if self.labels_per_prompt < 1:
            raise ValueError("'labels_per_prompt' must be 1 or more")

    @property
    def reads(self) -> Reads:
        """The image, and the tags where they are queries."""
        return (TAGS,) if self.use_tags else ()

    @property
    def writes(self) -> Writes:
        """Raw detections, best first, and how the queries were grouped."""
        return DETECTIONS.of(self.source), QUERY_GROUPS.of(self.source)

    def load(self, device: str) -> Detector:
        """The model with the fixed queries already encoded."""
        options = Options(
            dtype=self.dtype,
            texts_per_call=self.queries_per_call,
            labels_per_prompt=self.labels_per_prompt,
            token_score=self.token_score,
            least=self.threshold,
        )
        model = detector.load(self.model, device, options)
        model.remember(fill(self.template, word) for word in self.queries)
        return model

    def annotate(self, model: Detector, records: Sequence[Record]) -> list[Row]:
        """Detections of every image."""
        words = [self._words(record) for record in records]
        scored = model.score(
            [record.image for record in records],
            [record.size for record in records],
            [[fill(self.template, word) for word in asked] for asked in words],
        )
        return [
            {
                DETECTIONS.of(self.source): self._detections(found, asked),
                QUERY_GROUPS.of(self.source): found.groups,
            }
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
        kept = detector.suppress(boxes, scores, labels, self.nms, self.nms_per_label)
        if self.box_voting is not None:
            given = found.scores[usable][:, labels[kept]].T
            boxes[kept] = detector.vote(boxes[kept], boxes, given, self.box_voting)
            again = boxes[kept], scores[kept], labels[kept]
            kept = kept[detector.suppress(*again, self.nms, self.nms_per_label)]
        return tuple(
            Detection(geometry.as_box(boxes[i]), float(scores[i]), words[labels[i]])
            for i in kept[: self.max_boxes]
        )
