"""The language model's answer becomes a dense caption whose spans point at objects.

References that the model wrote itself are read, checked against the objects and kept only where
they hold. An answer without references is grounded by matching: phrases of the captions, then
attribute and label of an object ("red car"), then a label that only one object has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from grand_pipeline import references, spans, structured
from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    DENSE_CAPTION,
    DENSE_DRAFT,
    INSTANCES,
    LINKS,
)
from grand_pipeline.generation import Generation
from grand_pipeline.labels import Lexicon, normalize, plural, words_of
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import DenseCaption, PhraseLink, Span


@dataclass(frozen=True)
class Named:
    """An object as text can speak of it: normalised label and attribute texts in lower case."""

    id: int
    voted: bool
    label: str
    attributes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DenseGrounding(Stage[None]):
    """Ground the dense caption in the objects of the image."""

    level: ClassVar[int] = 3

    match: Literal["plain", "always", "never"] = "plain"
    """When to look for further mentions by matching: in answers without any reference, in every
    answer (outside the references that hold), or not at all."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones."""

    @property
    def reads(self) -> Reads:
        return (DENSE_DRAFT, INSTANCES, ASSIGNED, ATTRIBUTES, LINKS)

    @property
    def writes(self) -> Writes:
        return (DENSE_CAPTION,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [{DENSE_CAPTION: self.ground(r[DENSE_DRAFT], _named(r), r[LINKS])} for r in records]

    def ground(
        self, draft: Generation, objects: Sequence[Named], links: tuple[PhraseLink, ...]
    ) -> DenseCaption:
        """The grounded text.

        `verified` is true only if every reference named existing objects, agreed with their
        labels and contradicted none of their attributes, and no mark was left unread; beside
        that, claims of a draft that was reviewed all held, and a draft that was not reviewed has
        references at all. Sentences without reference are checked by a review only.
        """
        answer = structured.read(draft.answer)
        table = {named.id: named for named in objects}
        marked = objects if answer.marked else ()
        known = frozenset(attribute for named in marked for attribute in named.attributes)
        pieces: list[tuple[str, tuple[int, ...]]] = []
        checked = draft.review.verified if draft.review else bool(answer.marked)
        holds = answer.clean and checked
        for piece in answer.pieces:
            ids = self._agreeing(piece, table)
            pieces.append((piece.text, ids))
            if piece.ids is not None:
                fitting = bool(ids) and ids == piece.ids
                holds = holds and fitting and _consistent(piece.text, ids, table, known)
        text, found = spans.joined(pieces)
        if self.match == "always" or (self.match == "plain" and not answer.marked):
            found = spans.without_overlaps(self._matched(text, objects, links), found)
        return DenseCaption(text, found, draft.source, draft.finish_reason, holds)

    def _agreeing(self, piece: references.Piece, table: Mapping[int, Named]) -> tuple[int, ...]:
        """The ids of a marked phrase that exist and whose label the phrase's head agrees with."""
        return tuple(
            i
            for i in piece.ids or ()
            if i in table and self.lexicon.mentions(piece.text, table[i].label)
        )

    def _matched(
        self, text: str, objects: Sequence[Named], links: tuple[PhraseLink, ...]
    ) -> list[Span]:
        """Mentions in a plain text, in order of evidence, longer ones first."""
        voted = [named for named in objects if named.voted] or list(objects)
        ids = {named.id for named in objects}
        said = {link.text: tuple(i for i in link.object_ids if i in ids) for link in links}
        described: dict[str, list[int]] = {}
        labelled: dict[str, list[int]] = {}
        for named in voted:
            labelled.setdefault(named.label, []).append(named.id)
            for attribute in named.attributes:
                described.setdefault(f"{attribute} {named.label}", []).append(named.id)
        found: list[Span] = []
        for evidence in (said, _by_number(described), _by_number(labelled)):
            level = [
                Span(spans.with_determiner(text, start), end, evidence[phrase])
                for phrase in sorted(spans.present(text, evidence))
                for start, end in spans.find_all(text, phrase)
            ]
            found += spans.longest_first(level)
        return found


def _by_number(table: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Noun phrase -> objects: the singular if only one fits, the plural if several do."""
    found: dict[str, tuple[int, ...]] = {}
    for phrase, ids in table.items():
        if phrase.strip():
            found[phrase if len(ids) == 1 else plural(phrase)] = tuple(ids)
    return found


def _consistent(
    phrase: str, ids: Sequence[int], table: Mapping[int, Named], known: frozenset[str]
) -> bool:
    """Whether the phrase gives its objects no attribute that only other objects have."""
    claimed = known.intersection(words_of(phrase))
    return all(claimed.issubset(table[i].attributes) for i in ids if table[i].attributes)


def _named(record: Record) -> tuple[Named, ...]:
    labels = {a.object_id: a.label for a in record[ASSIGNED]}
    attributes: dict[int, list[str]] = {}
    for found in record.members(ATTRIBUTES).values():
        for attribute in found:
            text = " ".join(attribute.text.lower().split())
            attributes.setdefault(attribute.object_id, []).append(text)
    return tuple(
        Named(
            instance.id,
            instance.status == "object",
            normalize(labels.get(instance.id, instance.label)),
            tuple(dict.fromkeys(text for text in attributes.get(instance.id, ()) if text)),
        )
        for instance in record[INSTANCES]
    )
