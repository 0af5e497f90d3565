"""A language model adds what is generally known about such a scene and the things in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline.columns import CONTEXT, SCENE_GRAPH
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from stages import chat


@dataclass(frozen=True, kw_only=True)
class Context(Stage[chat.Chat], chat.Asking):
    """Extra context: knowledge that can not be seen in the picture."""

    level: ClassVar[int] = 4
    version: ClassVar[int] = 2
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
        return (CONTEXT,)

    @property
    def needs_image(self) -> bool:
        return False

    @property
    def models(self) -> tuple[str, ...]:
        return chat.models(self)

    @property
    def prompts(self) -> tuple[str, ...]:
        return (self.prompt,)

    def load(self, device: str) -> chat.Chat:
        """The model, in this process or behind a server."""
        return chat.live(self, device)

    def annotate(self, model: chat.Chat, records: Sequence[Record]) -> list[Row]:
        told = chat.told(self, model, [record[SCENE_GRAPH] for record in records])
        return [{CONTEXT: chat.usable(one, self.accept)} for one in told]
