"""Asking a prompt about scene graphs: fitted into the context, judged, asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import prompts
from grand_pipeline.generation import Generation
from prompts import Message
from stages.chat import finish
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
    fields: Sequence[Mapping[str, str]] = (),
) -> list[Generation]:
    """Ask `prompt` about each scene graph; its fields are `graph` and those of `fields`.

    A graph that does not fit the context is shortened by whole lines (`graph_text.shortened`),
    just as much as needed. The stored prompt is the text that the model really read. A number
    for `effort` is the longest answer in tokens, asked for once.
    """
    effort = Effort(effort) if isinstance(effort, int) else effort
    room = chat.context_length - effort.max_new_tokens
    others = fields or [{}] * len(graphs)
    questions = [
        _question(chat, prompt, graph, room, more, effort)
        for graph, more in zip(graphs, others, strict=True)
    ]
    pending = [n for n, question in enumerate(questions) if question.size <= room]
    for attempt in range(effort.attempts):
        if attempt:
            pending = [n for n in pending if _worth_another(questions[n], effort)]
            for n in pending:
                questions[n] = _harder(questions[n], chat.context_length, effort)
        _attempt(chat, questions, pending, effort)
    return [_told(question, source) for question in questions]


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


def _attempt(
    chat: Chat, questions: list[_Question], pending: Sequence[int], effort: Effort
) -> None:
    """Put an answer to every pending question; those asked in the same way go together."""
    groups: dict[tuple[int, Decoding], list[int]] = {}
    for n in pending:
        groups.setdefault((questions[n].budget, questions[n].decoding), []).append(n)
    for (budget, decoding), members in groups.items():
        given = chat.complete([questions[n].messages for n in members], budget, decoding)
        for n, answer in zip(members, given, strict=True):
            answers = (*questions[n].answers, effort.judge(answer))
            questions[n] = replace(questions[n], answers=answers)


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
