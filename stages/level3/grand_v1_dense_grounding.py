"""GranD's dense grounding: the model's text is searched for what the graph knows, in four steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from grand_pipeline import references, spans
from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    DENSE_CAPTION,
    DENSE_DRAFT,
    INSTANCES,
    LINKS,
)
from grand_pipeline.grand_v1 import dense, graph, linking, voting
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import DenseCaption
from stages import parsing


@dataclass(frozen=True, kw_only=True)
class GrandV1DenseGrounding(Stage[Any]):
    """Ground the dense caption by attributes, phrases, likeness and nouns; never verified.

    References that a model wrote into its text are taken out and not used.
    """

    level: ClassVar[int] = 3

    model: str = "en_core_web_sm"
    """An installed spaCy pipeline, a folder, or "embedded:NAME"; it must parse."""

    likeness: float = 0.75
    """Least likeness of a phrase of the text with an attribute or a phrase of a short caption."""

    attribute_sources: tuple[str, ...] = ("gpt4roi", "grit")
    """Sources of attributes in order of preference; the rest follow by name."""

    words: tuple[str, ...] = ()
    """Sources of attributes that are mere words ("red"): the object's label is put behind them, as
    GranD's own attributes describe a whole region ("a red car")."""

    describers: tuple[str, ...] = ("grit",)
    """Sources whose votes are texts and no labels."""

    defects: tuple[Literal["D4", "D5", "D6", "D7"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    @property
    def reads(self) -> Reads:
        return (DENSE_DRAFT, INSTANCES, ASSIGNED, ATTRIBUTES, LINKS)

    @property
    def writes(self) -> Writes:
        return (DENSE_CAPTION,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> Any:
        """The pipeline, always on the CPU."""
        return parsing.load(self.model)

    def annotate(self, model: Any, records: Sequence[Record]) -> list[Row]:
        return [{DENSE_CAPTION: self.ground(model, record)} for record in records]

    def ground(self, nlp: Any, record: Record) -> DenseCaption:
        """The grounded text of one image."""
        said: dict[str, tuple[int, ...]] = {}
        for link in record[LINKS]:
            known = said.get(linking.folded(link.text), ())
            said[linking.folded(link.text)] = tuple(dict.fromkeys((*known, *link.object_ids)))
        evidence = dense.Evidence(
            self.things(record),
            said,
            lambda text: parsing.words(nlp, text),
            cache(lambda text: parsing.lemmas(nlp, text)),
            self.likeness,
            self.defects,
        )
        draft = record[DENSE_DRAFT]
        pieces = references.parse(spans.nfc(draft.answer)).pieces
        text, _ = spans.joined([(piece.text, ()) for piece in pieces])
        stored, found = dense.ground(text, evidence)
        return DenseCaption(stored, found, draft.source, draft.finish_reason, verified=False)

    def things(self, record: Record) -> list[dense.Thing]:
        """The objects with the labels they were voted and their attributes."""
        told = {voting.folded(name) for name in self.describers}
        attributes = self._attributes(record)
        return [
            dense.Thing(
                i.id,
                i.status == "object",
                i.box,
                tuple(v.label for v in i.votes if voting.folded(v.source) not in told)
                or (i.label,),
                tuple(attributes.get(i.id, ())),
            )
            for i in record[INSTANCES]
        ]

    def _attributes(self, record: Record) -> dict[int, list[str]]:
        """Object id -> its attributes in lower case, most preferred first."""
        members = record.members(ATTRIBUTES)
        labels = {a.object_id: a.label.lower() for a in record[ASSIGNED]}
        found: dict[int, list[str]] = {}
        for attribute in graph.by_preference(members, self.attribute_sources):
            text = graph.said(attribute.text).lower()
            if attribute.source in self.words:
                text = f"{text} {labels.get(attribute.object_id, '')}".strip()
            found.setdefault(attribute.object_id, []).append(text)
        return found
