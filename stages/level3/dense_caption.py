"""A language model reads the scene graph and writes the dense caption, with references inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import prompts as library
from grand_pipeline.columns import DENSE_DRAFT, SCENE_GRAPH
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from stages import chat


@dataclass(frozen=True, kw_only=True)
class DenseCaption(Stage[chat.Chat]):
    """The draft of the dense caption, kept verbatim; `dense_grounding` reads its references."""

    level: ClassVar[int] = 3

    model: str = "Qwen/Qwen3-4B"
    """A causal language model for chats: hub id, folder, or "embedded:NAME"."""

    prompt: str = "dense_caption/default"
    """Folder under `prompts/`; its user template has the one field `graph`."""

    dtype: chat.Dtype = "float32"
    """Precision of the weights; bfloat16 halves the memory on a GPU that has it."""

    max_new_tokens: int = 768
    """Longest answer in tokens; the prompt has what is left of the model's context."""

    @property
    def reads(self) -> Reads:
        return (SCENE_GRAPH,)

    @property
    def writes(self) -> Writes:
        return (DENSE_DRAFT,)

    @property
    def needs_image(self) -> bool:
        return False

    @property
    def prompts(self) -> tuple[str, ...]:
        return (self.prompt,)

    def load(self, device: str) -> chat.Chat:
        """The model; the prompt is read here too, so that a wrong name fails at once."""
        library.load(self.prompt)
        return chat.load(self.model, device, self.dtype)

    def annotate(self, model: chat.Chat, records: Sequence[Record]) -> list[Row]:
        drafts = chat.describe(
            model,
            library.load(self.prompt),
            [record[SCENE_GRAPH] for record in records],
            self.max_new_tokens,
            self.model,
        )
        return [{DENSE_DRAFT: draft} for draft in drafts]
