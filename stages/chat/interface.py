"""What every language model that answers chats has in common, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from grand_pipeline.types import FinishReason
from prompts import Message

STOP, LENGTH, TOO_LONG = FinishReason("stop"), FinishReason("length"), FinishReason("too long")
"""Finish reasons: the model ended its answer; the answer hit `max_new_tokens`; the prompt does
not fit the model's context even in its shortest form, so nothing was asked."""


@dataclass(frozen=True)
class Answer:
    """What the model said, verbatim, and why it ended."""

    text: str
    finish_reason: str


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen. Temperature 0 is greedy; above it, text is sampled with `seed`.

    `schema` is a JSON schema as text, or empty; a model that can not be held to one answers
    freely, so answers have to be parsed with care all the same.
    """

    temperature: float = 0.0
    seed: int | None = None
    schema: str = ""


GREEDY = Decoding()


class Chat(Protocol):
    """A language model that answers chats, whatever runs it."""

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may have together."""

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that the model reads for a chat, up to where its answer begins; where only a
        server knows that, the messages as JSON, exactly as they are sent."""

    def size(self, messages: Sequence[Message], room: int) -> int:
        """Tokens of a chat's prompt, in the model's own tokens where they can be had. A backend
        for which counting is dear may give an upper bound instead, if that is within `room`."""

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        """One answer per chat, in order. A chat that fails does not raise: its answer is empty
        and its finish reason begins with the name of the error."""
