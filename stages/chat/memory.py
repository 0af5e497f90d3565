"""A model that remembers its batches, so that one taken again record by record costs nothing."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from prompts import Message
from stages.chat.interface import GREEDY, Answer, Chat, Decoding

REMEMBERED = 2048
"""Answers that are kept; the oldest are forgotten first."""


@dataclass(frozen=True)
class Remembering:
    """A chat model that keeps its latest answers, failures too.

    A stage that raises for one record of a batch is given all of them again, one by one; asking
    a model again would cost as much as the batch, and a dead server every timeout once more.
    """

    chat: Chat
    answers: OrderedDict[str, Answer] = field(default_factory=OrderedDict)

    @property
    def context_length(self) -> int:
        """That of the model."""
        return self.chat.context_length

    def prompt(self, messages: Sequence[Message]) -> str:
        """That of the model."""
        return self.chat.prompt(messages)

    def size(self, messages: Sequence[Message], room: int) -> int:
        """That of the model."""
        return self.chat.size(messages, room)

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        """Answers of one batch. A chat that comes alone and was asked before is answered from
        memory; a batch is always asked."""
        how = (max_new_tokens, decoding.temperature, decoding.seed, decoding.schema)
        keys = [json.dumps([list(messages), *how]) for messages in chats]
        if len(chats) == 1 and keys[0] in self.answers:
            return [self.answers[keys[0]]]
        told = self.chat.complete(chats, max_new_tokens, decoding)
        self.answers.update(zip(keys, told, strict=True))
        while len(self.answers) > REMEMBERED:
            self.answers.popitem(last=False)
        return told
