"""GranD's second level: phrases of captions are tied to objects by their boxes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from grand_pipeline import geometry, spans
from grand_pipeline.columns import (
    CAPTIONS,
    FUSED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LINKS,
    PHRASE_BOXES,
    PHRASES,
)
from grand_pipeline.grand_v1 import captions, linking
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Instance, Phrase, PhraseBox, Size
from stages.mentions import Linked, located


@dataclass(frozen=True, kw_only=True)
class GrandV1Linking(Stage[None]):
    """Link, promote floating objects with two labels and very large ones, ground the captions."""

    level: ClassVar[int] = 2

    min_score: float = 0.5
    """A phrase's box has to score more."""

    match_iou: float = 0.75
    """A phrase's box belongs to an object above this IoU, whatever its label."""

    large: float = 0.5
    """Floating objects above this share of the image, and above every object, become objects."""

    defects: tuple[Literal["D8", "D10", "D11", "D13", "D13e", "D24"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    @property
    def reads(self) -> Reads:
        return (FUSED, CAPTIONS, PHRASES, PHRASE_BOXES)

    @property
    def writes(self) -> Writes:
        return (INSTANCES, LINKS, GROUNDED_CAPTIONS)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = []
        for record in records:
            texts, boxes = record.members(CAPTIONS), record.members(PHRASE_BOXES)
            linked = self.link(record[FUSED], texts, record[PHRASES], boxes, record.size)
            rows.append(linked.row())
        return rows

    def link(
        self,
        fused: tuple[Instance, ...],
        texts: Mapping[str, str],
        phrases: tuple[Phrase, ...],
        boxes: Mapping[str, tuple[PhraseBox, ...]],
        size: Size,
    ) -> Linked:
        """Resolve every phrase of an image of `size` (height, width)."""
        stored = {source: spans.nfc(texts[source]) for source in sorted(texts)}
        mentions = located(stored, phrases)
        usable = {source: _inside(given, size) for source, given in boxes.items()}
        asked = linking.located(mentions, usable, self.min_score, self.defects)
        tied = linking.link(fused, asked, self.match_iou, self.defects)
        instances = linking.promote_large(tied.instances, size, self.large, self.defects)
        # A deleted object (D11) leaves no reference behind, since references always resolve.
        left = {instance.id for instance in instances}
        ids = {text: tuple(i for i in found if i in left) for text, found in tied.ids.items()}
        keys = {phrase.text: linking.folded(phrase.text) for phrase in mentions}
        links = captions.links(mentions, ids, keys)
        return Linked(
            instances,
            links,
            tuple(
                captions.ground(
                    source, text, [x for x in links if x.source == source], self.defects
                )
                for source, text in stored.items()
            ),
        )


def _inside(found: Sequence[PhraseBox], size: Size) -> list[PhraseBox]:
    """Boxes cut to the image; phrases in NFC as in the stored captions."""
    cut = geometry.clip(geometry.as_boxes([one.box for one in found]), size)
    whole = np.all(cut[:, 2:] > cut[:, :2], axis=1).tolist()
    return [
        PhraseBox(spans.nfc(one.text), geometry.as_box(box), one.score)
        for one, box, fits in zip(found, cut, whole, strict=True)
        if fits
    ]
