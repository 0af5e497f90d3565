"""Conversations with a language model, and how many of them are held at once.

A dialog is a generator: it yields what to ask, is sent the answer, and returns what came of it.
So what is asked next may depend on the answer, and no dialog knows of any other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from prompts import Message
from stages.chat.interface import GREEDY, Answer, Chat, Decoding

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One question to a model: the chat so far, the longest answer in tokens, how it is chosen.

    `picture` is what the last turn is about, as the address of an image (here a `data:` URI); only
    servers are asked such questions.
    """

    messages: Sequence[Message]
    max_new_tokens: int
    decoding: Decoding = GREEDY
    picture: str = ""


@dataclass(frozen=True)
class Done(Generic[T]):
    """The end of a dialog."""

    value: T


Dialog = Generator[Request, Answer, T]


@runtime_checkable
class Flowing(Protocol):
    """A model for which a dialog need not wait for the others."""

    def hold(self, dialogs: Iterable[Dialog[T]]) -> list[T]:
        """What came of every dialog, in order. The next one begins as soon as one ends."""


def hold(chat: Chat, dialogs: Iterable[Dialog[T]]) -> list[T]:
    """What came of every dialog, in order.

    A model that answers in batches is asked one question of every open dialog at a time; those
    that are asked in the same way make a batch.
    """
    if isinstance(chat, Flowing):
        return chat.hold(dialogs)
    held = list(dialogs)
    states = [step(dialog) for dialog in held]
    while asked := {n: state for n, state in enumerate(states) if isinstance(state, Request)}:
        groups: dict[tuple[int, Decoding], list[int]] = {}
        for n, request in asked.items():
            groups.setdefault((request.max_new_tokens, request.decoding), []).append(n)
        for (budget, decoding), members in groups.items():
            given = chat.complete([asked[n].messages for n in members], budget, decoding)
            for n, answer in zip(members, given, strict=True):
                states[n] = step(held[n], answer)
    return [state.value for state in states if isinstance(state, Done)]


def step(dialog: Dialog[T], answer: Answer | None = None) -> Request | Done[T]:
    """What a dialog asks next, after the answer to its last question, or how it ended."""
    try:
        return next(dialog) if answer is None else dialog.send(answer)
    except StopIteration as end:
        return Done(end.value)


def single(request: Request) -> Dialog[Answer]:
    """A dialog of one question."""
    return (yield request)
