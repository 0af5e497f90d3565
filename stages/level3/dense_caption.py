"""A language model writes the dense caption of a scene graph, and revises what does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import prompts as library
from grand_pipeline import structured
from grand_pipeline.columns import DENSE_DRAFT, SCENE_GRAPH
from grand_pipeline.labels import Lexicon
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import FinishReason
from stages import chat, feedback

_NO_JSON = FinishReason("invalid JSON")


@dataclass(frozen=True, kw_only=True)
class DenseCaption(Stage[chat.Chat], chat.Asking):
    """The draft of the dense caption, kept verbatim; `dense_grounding` reads its references."""

    level: ClassVar[int] = 3
    version: ClassVar[int] = 2
    operational: ClassVar[frozenset[str]] = Stage.operational | chat.OPERATIONAL

    prompt: str = "dense_caption/default"
    """Folder under `prompts/`; its user template has the one field `graph`."""

    answer: Literal["references", "json"] = "references"
    """What the prompt asks for: text with references inside ("<p>a car</p>[0]"), or JSON under a
    schema (with the prompt "dense_caption/json"), to which servers hold the model."""

    rounds: int = 0
    """How often a draft with failing claims is revised at most; 0 does not look at its claims."""

    feedback: str = "feedback/default"
    """Folder of the prompt that asks for a revision; its fields are `graph`, `draft`, `faults`."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones, for checking claims."""

    max_new_tokens: int = 768
    """Longest answer in tokens; the prompt has what is left of the model's context."""

    def __post_init__(self) -> None:
        asked_for_json = "json" in self.prompt.rpartition("/")[2]
        if (self.answer == "json") != asked_for_json:
            raise ValueError(
                f"answer '{self.answer}' does not go with prompt '{self.prompt}': a prompt that "
                "asks for JSON has the word in its name"
            )

    @property
    def reads(self) -> Reads:
        return (SCENE_GRAPH, *(feedback.READS if self.rounds else ()))

    @property
    def writes(self) -> Writes:
        return (DENSE_DRAFT,)

    @property
    def needs_image(self) -> bool:
        return False

    @property
    def models(self) -> tuple[str, ...]:
        return chat.models(self)

    @property
    def prompts(self) -> tuple[str, ...]:
        return (self.prompt, self.feedback) if self.rounds else (self.prompt,)

    def load(self, device: str) -> chat.Chat:
        """The model, in this process or behind a server."""
        library.load(self.feedback)
        return chat.live(self, device)

    def annotate(self, model: chat.Chat, records: Sequence[Record]) -> list[Row]:
        graphs = [record[SCENE_GRAPH] for record in records]
        asking = self.effort()
        told = chat.describe(model, library.load(self.prompt), graphs, asking, self.model)
        drafts = [chat.usable(one, self.accept) for one in told]
        if self.rounds:
            reviser = feedback.Reviser(model, library.load(self.feedback), asking, self.lexicon)
            drafts = reviser.revised(drafts, records, self.rounds)
        return [{DENSE_DRAFT: draft} for draft in drafts]

    def effort(self) -> chat.Effort:
        """How drafts and revisions are asked for."""
        plain = chat.effort(self)
        if self.answer == "references":
            return plain
        return replace(
            plain,
            first=replace(plain.first, schema=structured.SCHEMA),
            judge=_json_judged,
            again=plain.again | {_NO_JSON},
        )


def _json_judged(answer: chat.Answer) -> chat.Answer:
    """An answer that begins as JSON and is none is named; plain text will be matched instead."""
    found = chat.judged(answer)
    broken = structured.meant_as_json(found.text) and structured.parse(found.text) is None
    if found.finish_reason == chat.STOP and broken:
        return chat.Answer(found.text, _NO_JSON)
    return found
