"""GranD's phrases of the short captions: nouns with all that depends on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from grand_pipeline import spans
from grand_pipeline.columns import CAPTIONS, PHRASES
from grand_pipeline.grand_v1 import words
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Phrase
from stages import parsing


@dataclass(frozen=True, kw_only=True)
class GrandV1Phrases(Stage[Any]):
    """Phrases as they stand in the captions, by the first rule, or by the second where the first
    finds none. The faults of the published extraction (D10) are those of `grand_v1_linking`."""

    level: ClassVar[int] = 2

    model: str = "en_core_web_sm"
    """An installed spaCy pipeline, a folder, or "embedded:NAME"; it must parse."""

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

    def phrases(self, nlp: Any, captions: Mapping[str, str]) -> tuple[Phrase, ...]:
        """The phrases of all captions (source -> text), by source, in reading order."""
        found: list[Phrase] = []
        for source in sorted(captions):
            text = spans.nfc(captions[source])
            parsed = parsing.words(nlp, text)
            for one in words.phrases(parsed, text) or words.plain_phrases(parsed, text):
                phrase = text[one.start : one.end]
                found.append(Phrase(source, phrase, one.noun.lower(), one.start, one.end))
        return tuple(found)
