"""GranD's fourth level: context from a list of objects instead of the scene graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from grand_pipeline.columns import ASSIGNED, ATTRIBUTES, CONTEXT, INSTANCES, LANDMARK, UNUSABLE
from grand_pipeline.grand_v1 import graph
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Questions, Reads, Row, Stage, Writes
from stages import chat


@dataclass(frozen=True, kw_only=True)
class GrandV1Context(Stage[chat.Chat], chat.Asking):
    """Extra context: knowledge that can not be seen in the picture."""

    level: ClassVar[int] = 4
    version: ClassVar[int] = 4
    operational: ClassVar[frozenset[str]] = Stage.operational | chat.OPERATIONAL

    prompt: str = "context/default"
    """Folder under `prompts/`; its user template has the one field `graph`."""

    max_nodes: int = 30
    """Objects in the list, those with an attribute first."""

    attribute_sources: tuple[str, ...] = ("gpt4roi", "grit")
    """Sources of attributes in order of preference; the rest follow by name."""

    max_new_tokens: int = 512
    """Longest answer in tokens; the prompt has what is left of the model's context."""

    defects: tuple[Literal["D19"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    @property
    def reads(self) -> Reads:
        return (INSTANCES, ASSIGNED, ATTRIBUTES, LANDMARK)

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
        return chat.questions(self, CONTEXT, None)

    def load(self, device: str) -> chat.Chat:
        """The model, in this process or behind a server."""
        return chat.live(self, device)

    def annotate(self, model: chat.Chat, records: Sequence[Record]) -> list[Row | Failed]:
        told = chat.told(self, model, [self.text(record) for record in records])
        return [chat.row(self, self.key, CONTEXT, one) for one in told]

    def text(self, record: Record) -> str:
        """The list of one image."""
        members = record.members(ATTRIBUTES)
        told = graph.described(graph.by_preference(members, self.attribute_sources))
        nodes = graph.chosen(record[INSTANCES], told, self.max_nodes, self.defects)
        labels = {a.object_id: a.label for a in record[ASSIGNED]}
        return graph.context_text(nodes, labels, told, record[LANDMARK])
