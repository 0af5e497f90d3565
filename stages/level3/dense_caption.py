"""A language model writes the dense caption of a scene graph, and revises what does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import prompts as library
from grand_pipeline import structured
from grand_pipeline.columns import DENSE_DRAFT, SCENE_GRAPH, UNUSABLE
from grand_pipeline.generation import Generation
from grand_pipeline.labels import Lexicon
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Questions, Reads, Row, Stage, Writes
from grand_pipeline.types import FinishReason
from stages import chat, vlm_served, witness
from stages.feedback import READS, Reviser
from stages.vlm_served import Looking
from stages.witness import Witness

_NO_JSON = FinishReason("invalid JSON")


@dataclass(frozen=True)
class Author:
    """What writes a caption, and what sees whether it is true, if anything does."""

    writer: chat.Chat
    witness: Witness | None = None


@dataclass(frozen=True, kw_only=True)
class DenseCaption(Stage[Author], chat.Asking):
    """The draft of the dense caption, kept verbatim; `dense_grounding` reads its references."""

    level: ClassVar[int] = 3
    version: ClassVar[int] = 4
    operational: ClassVar[frozenset[str]] = (
        Stage.operational | chat.OPERATIONAL | {"witness_endpoint", "witness_key_env"}
    )

    prompt: str = "dense_caption/default"
    """Folder under `prompts/`; its user template has the one field `graph`."""

    answer: Literal["references", "json"] = "references"
    """What the prompt asks for: text with references inside ("<p>a car</p>[0]"), or JSON under a
    schema (with the prompt "dense_caption/json"), to which servers hold the model."""

    rounds: int = 0
    """How often a draft with failing claims is revised at most; 0 does not look at its claims."""

    feedback: str = "feedback/default"
    """Folder of the prompt that asks for a revision; its fields are `graph`, `draft`, `faults`."""

    witness: str = ""
    """A chat model that sees (hub id, folder), asked yes or no about claims that the objects
    contradict or say nothing of. Empty: the objects alone decide."""

    witness_endpoint: str = ""
    """Address of an OpenAI-compatible server that runs the witness, under the name `witness`;
    empty: it runs in this process. `concurrency`, `timeout` and `retries` hold for it too."""

    witness_key_env: str = ""
    """Name of the environment variable that holds that server's key."""

    witness_prompt: str = "feedback/witness"
    """Folder of the witness's question; its field is `claim`."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones, for checking claims."""

    max_new_tokens: int = 768
    """Longest answer in tokens; the prompt has what is left of the model's context."""

    def __post_init__(self) -> None:
        if self.witness and not self.rounds:
            raise ValueError("option witness checks claims, which rounds = 0 does not look at")
        super().__post_init__()
        asked_for_json = "json" in self.prompt.rpartition("/")[2]
        if (self.answer == "json") != asked_for_json:
            raise ValueError(
                f"answer '{self.answer}' does not go with prompt '{self.prompt}': a prompt that "
                "asks for JSON has the word in its name"
            )

    @property
    def reads(self) -> Reads:
        return (SCENE_GRAPH, *(READS if self.rounds else ()))

    @property
    def writes(self) -> Writes:
        return (DENSE_DRAFT, UNUSABLE.of(self.key))

    @property
    def needs_image(self) -> bool:
        return bool(self.witness)

    @property
    def whole_shards(self) -> bool:
        # With a witness the images are decoded, and those of a shard may be too many.
        return chat.served(self) and not self.witness

    @property
    def models(self) -> tuple[str, ...]:
        return (*chat.models(self), *(vlm_served.models(self._eyes) if self.witness else ()))

    @property
    def prompts(self) -> tuple[str, ...]:
        revision = (self.feedback,) if self.rounds else ()
        return (self.prompt, *revision, *((self.witness_prompt,) if self.witness else ()))

    @property
    def questions(self) -> Questions:
        return chat.questions(self, DENSE_DRAFT, SCENE_GRAPH, revised=self.rounds > 0)

    def load(self, device: str) -> Author:
        """The model, in this process or behind a server, and the witness."""
        library.load(self.feedback)
        if not self.witness:
            return Author(chat.live(self, device))
        seeing = witness.load(self._eyes, self.witness_prompt, device)
        return Author(chat.live(self, device), seeing)

    def annotate(self, model: Author, records: Sequence[Record]) -> list[Row | Failed]:
        asking, revision = self.effort(), library.load(self.feedback)
        reviser = Reviser(model.writer, revision, asking, self.lexicon, model.witness)
        dialogs = (self._writing(record, reviser) for record in records)
        return [
            chat.row(self, self.key, DENSE_DRAFT, told) for told in chat.hold(model.writer, dialogs)
        ]

    def _writing(self, record: Record, reviser: Reviser) -> chat.Dialog[Generation]:
        """The dialog about one image: a draft, and its revisions if it is usable."""
        prompt, graph = library.load(self.prompt), record[SCENE_GRAPH]
        told = yield from chat.asking(reviser.chat, prompt, graph, reviser.effort, self.model)
        if self.rounds and told.finish_reason in self.accept:
            told = yield from reviser.revising(told, record, self.rounds)
        return told

    @property
    def _eyes(self) -> Looking:
        """How the witness is run; images are bounded where they have to be sent."""
        return Looking(
            model=self.witness,
            dtype=self.dtype,
            endpoint=self.witness_endpoint,
            api_key_env=self.witness_key_env,
            concurrency=self.concurrency,
            timeout=self.timeout,
            retries=self.retries,
            max_pixels=Looking.max_pixels if self.witness_endpoint else None,
        )

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
    if found.finish_reason != chat.STOP or not structured.meant_as_json(found.text):
        return found
    return found if structured.parse(found.text) else chat.Answer(found.text, _NO_JSON)
