"""A language model adds what is generally known about such a scene and the things in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline.columns import CONTEXT, SCENE_GRAPH, UNUSABLE
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Questions, Reads, Row, Stage, Writes
from stages import chat


@dataclass(frozen=True, kw_only=True)
class Context(Stage[chat.Chat], chat.Asking):
    """Extra context: knowledge that can not be seen in the picture."""

    level: ClassVar[int] = 4
    version: ClassVar[int] = 3
    operational: ClassVar[frozenset[str]] = Stage.operational | chat.OPERATIONAL

    prompt: str = "context/default"
    """Folder under `prompts/`; its user template has the one field `graph`."""

    max_new_tokens: int = 400
    """Longest answer in tokens; the prompt has what is left of the model's context."""

    @property
    def reads(self) -> Reads:
        return (SCENE_GRAPH,)

    @property
    def writes(self) -> Writes:
        return (CONTEXT, UNUSABLE.of(self.key))

    @property
    def needs_image(self) -> bool:
        return False

    @property
    def whole_shards(self) -> bool:
        return chat.served(self)

    @property
    def models(self) -> tuple[str, ...]:
        return chat.models(self)

    @property
    def prompts(self) -> tuple[str, ...]:
        return (self.prompt,)

    @property
    def questions(self) -> Questions:
        return chat.questions(self, CONTEXT, SCENE_GRAPH)

    def load(self, device: str) -> chat.Chat:
        """The model, in this process or behind a server."""
        return chat.live(self, device)

    def annotate(self, model: chat.Chat, records: Sequence[Record]) -> list[Row | Failed]:
        told = chat.told(self, model, [record[SCENE_GRAPH] for record in records])
        return [chat.row(self, self.key, CONTEXT, one) for one in told]
