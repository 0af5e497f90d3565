"""Noun phrases of the short captions, by a spaCy pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from grand_pipeline.columns import CAPTIONS, PHRASES
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Phrase
from stages import parsing


@dataclass(frozen=True, kw_only=True)
class Phrases(Stage[Any]):
    """Phrases as they stand in the captions, articles included, without pronouns."""

    level: ClassVar[int] = 2

    model: str = "en_core_web_sm"
    """An installed spaCy pipeline, a folder, or "embedded:NAME"; it must parse."""

    ignore: tuple[str, ...] = (
        *("picture", "image", "photo", "photograph", "scene", "view", "shot", "close-up"),
        *("foreground", "background", "middle", "center", "centre", "distance"),
        *("front", "back", "left", "right", "side", "top", "bottom", "edge", "corner"),
    )
    """Head nouns of phrases that speak of the picture and not of what is in it."""

    @property
    def reads(self) -> Reads:
        return (CAPTIONS,)

    @property
    def writes(self) -> Writes:
        return (PHRASES,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> Any:
        """The pipeline, always on the CPU."""
        return parsing.load(self.model)

    def annotate(self, model: Any, records: Sequence[Record]) -> list[Row]:
        return [{PHRASES: self.phrases(model, record.members(CAPTIONS))} for record in records]

    def phrases(self, nlp: Any, captions: dict[str, str]) -> tuple[Phrase, ...]:
        """The phrases of all captions (source -> text), by source, in reading order."""
        sources = sorted(captions)
        documents = nlp.pipe([captions[source] for source in sources])
        return tuple(
            Phrase(source, chunk.text, chunk.root.text, chunk.start_char, chunk.end_char)
            for source, document in zip(sources, documents, strict=True)
            for chunk in document.noun_chunks
            if self._speaks_of_a_thing(chunk.root)
        )

    def _speaks_of_a_thing(self, head: Any) -> bool:
        return head.pos_ != "PRON" and head.lower_ not in self.ignore
