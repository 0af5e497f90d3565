"""Boxes for the phrases of captions: each phrase is a query of an open-vocabulary detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import PHRASE_BOXES, PHRASES
from grand_pipeline.labels import how_many
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import FloatArray, Phrase, PhraseBox
from stages import detector
from stages.detector import Owl, Scored
from stages.texts import check_template, fill


@dataclass(frozen=True, kw_only=True)
class PhraseGrounding(Stage[Owl]):
    """The best box of every distinct phrase text, and further good ones where it is plural."""

    level: ClassVar[int] = 2

    source: str
    """Name of the grounder in the column and in votes."""
    model: str = "google/owlv2-base-patch16-ensemble"
    """Hub id, folder or `embedded:` name of an OWL-ViT or OWLv2 checkpoint."""
    template: str = "{}"
    """Text put to the model; `{}` is the phrase."""
    threshold: float = 0.1
    """Least probability of a phrase's best box."""
    ratio: float = 0.5
    """A plural phrase gets the boxes with at least this share of its best box's probability."""
    nms: float = 0.5
    """A box of a phrase goes when its IoU with a better one of it exceeds this."""
    box_voting: float | None = None
    """Move a box to the mean of the boxes that overlap it by this IoU, weighed by their scores
    for the phrase."""
    max_boxes: int = 10
    """Most boxes of a plural phrase that names no number."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)

    @property
    def reads(self) -> Reads:
        """Phrases."""
        return (PHRASES,)

    @property
    def writes(self) -> Writes:
        """Boxes, phrase by phrase, best first."""
        return (PHRASE_BOXES.of(self.source),)

    def load(self, device: str) -> Owl:
        """The detector."""
        return detector.load(self.model, device)

    def annotate(self, model: Owl, records: Sequence[Record]) -> list[Row]:
        """Boxes of every image; an image without phrases is not encoded."""
        phrases = [_by_text(record) for record in records]
        asked = [n for n, texts in enumerate(phrases) if texts]
        rows: list[tuple[PhraseBox, ...]] = [() for _ in records]
        if asked:
            scored = model.score(
                [records[n].image for n in asked],
                [records[n].size for n in asked],
                [[fill(self.template, text) for text in phrases[n]] for n in asked],
            )
            for n, found in zip(asked, scored, strict=True):
                rows[n] = self._boxes(found, phrases[n])
        return [{PHRASE_BOXES.of(self.source): boxes} for boxes in rows]

    def _boxes(self, found: Scored, phrases: dict[str, Phrase]) -> tuple[PhraseBox, ...]:
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        # A box that ends up outside the image has no side left after clipping.
        usable = np.flatnonzero(sides.min(axis=1) > 0)
        boxes = found.boxes[usable]
        found_boxes: list[PhraseBox] = []
        for (text, phrase), scores in zip(phrases.items(), found.scores[usable].T, strict=True):
            best = self._best(boxes, scores, self._most(phrase))
            chosen = boxes[best]
            if self.box_voting is not None and best:
                given = np.tile(scores, (len(best), 1))
                chosen = detector.vote(chosen, boxes, given, self.box_voting)
            found_boxes += [
                PhraseBox(text, geometry.as_box(box), float(scores[i]))
                for box, i in zip(chosen, best, strict=True)
            ]
        return tuple(found_boxes)

    def _most(self, phrase: Phrase) -> int:
        return min(self.max_boxes, how_many(phrase.text, phrase.head) or self.max_boxes)

    def _best(self, boxes: FloatArray, scores: FloatArray, most: int) -> list[int]:
        if not len(scores) or scores.max() < self.threshold:
            return []
        least = max(self.threshold, self.ratio * float(scores.max()))
        if most == 1:
            return [int(scores.argmax())]
        good = np.flatnonzero(scores >= least)
        kept = good[geometry.nms(boxes[good], scores[good], self.nms)]
        return [int(i) for i in kept[:most]]


def _by_text(record: Record) -> dict[str, Phrase]:
    """Distinct texts in order, each with its first phrase."""
    first: dict[str, Phrase] = {}
    for phrase in record[PHRASES]:
        first.setdefault(phrase.text, phrase)
    return first
