"""Dialogs are held side by side, in step or as they come, with the same outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.llm_server import MODEL, FakeServer, Reply, completion
from prompts import Message
from stages import chat
from stages.chat import Answer, Decoding, Dialog, Request
from tests.tiny.chats import Parrot


def turn(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def counting(name: str, times: int, budget: int = 5) -> Dialog[str]:
    """Asks `times` questions; what it is told is in what it returns."""
    said = []
    for n in range(times):
        answer = yield Request(turn(f"{name}{n}"), budget)
        said.append(answer.text)
    return " ".join(said)


@dataclass(frozen=True)
class Batches(Parrot):
    """Notes the questions of every batch."""

    batches: list[list[str]] = field(default_factory=list)

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = chat.GREEDY,
    ) -> list[Answer]:
        self.batches.append([messages[-1]["content"] for messages in chats])
        return super().complete(chats, max_new_tokens, decoding)


def test_open_dialogs_are_asked_in_step() -> None:
    model = Batches()
    found = chat.hold(model, [counting("a", 2), counting("b", 0), counting("c", 1)])
    assert found == ["a0 a1", "", "c0"]
    assert model.batches == [["a0", "c0"], ["a1"]]


def test_what_is_asked_in_another_way_is_a_batch_of_its_own() -> None:
    model = Batches()
    chat.hold(model, [counting("a", 1), counting("b", 1, budget=6), counting("c", 1)])
    assert model.batches == [["a0", "c0"], ["b0"]]


def test_a_server_is_asked_the_next_question_while_another_dialog_waits() -> None:
    with FakeServer(slow_first) as server:
        model = chat.EndpointChat(chat.Server(server.url, MODEL, concurrency=2), 4096)
        found = chat.hold(model, (counting(name, 3) for name in "abc"))
        order = [asked["messages"][-1]["content"] for asked in server.asked]
    assert found == ["a0 a1 a2", "b0 b1 b2", "c0 c1 c2"]
    # The first dialog's first answer takes as long as all of the two others.
    assert order.index("a1") > order.index("c1")
    assert server.most <= 2


def slow_first(asked: Mapping[str, Any], times: int) -> Reply:
    question = str(asked["messages"][-1]["content"])
    reply = completion(question)
    return Reply(reply.body, seconds=0.5) if question == "a0" else reply


def test_a_dialog_that_breaks_breaks_all() -> None:
    def broken() -> Dialog[str]:
        yield Request(turn("x"), 5)
        raise ZeroDivisionError

    with FakeServer() as server:
        model = chat.EndpointChat(chat.Server(server.url, MODEL), 4096)
        with pytest.raises(ZeroDivisionError):
            chat.hold(model, [counting("a", 1), broken()])
    with pytest.raises(ZeroDivisionError):
        chat.hold(Parrot(), [broken()])
