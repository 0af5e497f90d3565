"""Asking a prompt about scene graphs: fitted into the context, judged, asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import prompts
from grand_pipeline.generation import Generation
from prompts import Message
from stages.chat import finish
from stages.chat.dialog import Dialog, Request, hold
from stages.chat.interface import GREEDY, LENGTH, TOO_LONG, Answer, Chat, Decoding
from stages.graph_text import droppable, shortened

Judge = Callable[[Answer], Answer]
"""Gives an answer the finish reason that its text deserves."""


@dataclass(frozen=True)
class Effort:
    """How long answers may be and how often a bad one is asked for again.

    The first attempt is greedy unless `first` says otherwise. An answer that was cut short is
    asked for with twice the budget, one that `finish.RESAMPLED` names with seeds 1, 2, ...; both
    use what is left of the context at most. Other failures are not asked again here.
    """

    max_new_tokens: int
    attempts: int = 1
    temperature: float = 0.7
    first: Decoding = GREEDY
    judge: Judge = finish.judged
    again: frozenset[str] = finish.RESAMPLED


@dataclass(frozen=True)
class _Question:
    """A chat with its prompt as text, its size in tokens and what was answered so far."""

    messages: list[Message]
    text: str
    size: int
    answers: tuple[Answer, ...] = ()
    decoding: Decoding = GREEDY
    budget: int = 0


def describe(
    chat: Chat,
    prompt: prompts.Prompt,
    graphs: Sequence[str],
    effort: int | Effort,
    source: str,
) -> list[Generation]:
    """Ask `prompt` about each scene graph, as `asking` does. A number for `effort` is the longest
    answer in tokens, asked for once."""
    how = Effort(effort) if isinstance(effort, int) else effort
    return hold(chat, (asking(chat, prompt, graph, how, source) for graph in graphs))


def asking(
    chat: Chat,
    prompt: prompts.Prompt,
    graph: str,
    effort: Effort,
    source: str,
    fields: Mapping[str, str] | None = None,
) -> Dialog[Generation]:
    """The dialog in which `prompt` is asked about a scene graph; its fields are `graph` and those
    of `fields`.

    A graph that does not fit the context is shortened by whole lines (`graph_text.shortened`),
    just as much as needed. The stored prompt is the text that the model really read.
    """
    room = chat.context_length - effort.max_new_tokens
    question = _question(chat, prompt, graph, room, fields or {}, effort)
    attempts = effort.attempts if question.size <= room else 0
    for attempt in range(attempts):
        if attempt:
            if not _worth_another(question, effort):
                break
            question = _harder(question, chat.context_length, effort)
        answer = yield Request(question.messages, question.budget, question.decoding)
        question = replace(question, answers=(*question.answers, effort.judge(answer)))
    return _told(question, source)


def _question(
    chat: Chat,
    prompt: prompts.Prompt,
    graph: str,
    room: int,
    fields: Mapping[str, str],
    effort: Effort,
) -> _Question:
    """The chat about the longest form of `graph` that fits, or else about its shortest form."""

    def ask(drop: int) -> tuple[list[Message], int]:
        messages = prompts.render(prompt, graph=shortened(graph, drop), **fields)
        return messages, chat.size(messages, room)

    messages, size = ask(0)
    if size > room:
        low, high = 0, droppable(graph)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if ask(middle)[1] <= room else (middle + 1, high)
        messages, size = ask(low)
    return _Question(
        messages,
        chat.prompt(messages),
        size,
        decoding=effort.first,
        budget=effort.max_new_tokens,
    )


def _worth_another(question: _Question, effort: Effort) -> bool:
    return question.answers[-1].finish_reason in effort.again | {LENGTH}


def _harder(question: _Question, context_length: int, effort: Effort) -> _Question:
    """The question as it is asked next: with a larger budget, or with another seed."""
    left = context_length - question.size
    if question.answers[-1].finish_reason == LENGTH and question.budget < left:
        return replace(question, budget=min(2 * question.budget, left))
    seed = (question.decoding.seed or 0) + 1
    return replace(
        question,
        decoding=replace(question.decoding, temperature=effort.temperature, seed=seed),
    )


def _told(question: _Question, source: str) -> Generation:
    if not question.answers:
        return Generation(question.text, "", source, TOO_LONG)
    *earlier, last = question.answers
    return Generation(
        question.text,
        last.text,
        source,
        last.finish_reason,
        seed=question.decoding.seed if question.decoding.temperature else None,
        attempts=tuple(answer.finish_reason for answer in earlier),
    )
