"""A chat model behind a server, with every way in which a server can fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.llm_server import MODEL, FakeServer, Reply, Rule, completion, echo, failure
from prompts import Message
from stages.chat import Answer, Decoding, EndpointChat, Server
from stages.chat.bound import estimate
from stages.chat.retry import Backoff
from tests.tiny.chats import TEMPLATE, byte_tokenizer

QUICK = Backoff(retries=3, first=0.001, longest=0.002)


def turn(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


@dataclass
class Naps:
    """Sleeps not at all and notes how long it should have."""

    seconds: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def model(server: FakeServer, **options: Any) -> EndpointChat:
    return EndpointChat(Server(server.url, MODEL, **({"backoff": QUICK} | options)), 4096)


def answers(rule: Rule, *questions: str, **options: Any) -> list[Answer]:
    with FakeServer(rule) as server:
        return model(server, **options).complete([turn(q) for q in questions], 9)


def failing(reply: Reply, times: int = 99, only: str = "bad") -> Rule:
    """Gives `reply` to the question `only` the first `times` times, and echoes all others."""

    def rule(asked: Mapping[str, Any], before: int) -> Reply:
        hit = asked["messages"][-1]["content"] == only and before < times
        return reply if hit else echo(asked, before)

    return rule


def test_answers_come_in_order_with_bounded_concurrency() -> None:
    with FakeServer(seconds=0.01) as server:
        found = model(server, concurrency=4).complete([turn(f"q{n}") for n in range(30)], 9)
        assert found == [Answer(f"q{n}", "stop") for n in range(30)]
        assert server.most == 4


def test_the_request_is_what_the_protocol_wants() -> None:
    with FakeServer() as server:
        chat = model(server, key="secret", extra={"top_k": 3})
        chat.complete([turn("q")], 9)
        chat.complete([turn("q")], 9, Decoding(0.5, 7, '{"type": "object"}'))
    plain = {"model": MODEL, "messages": turn("q"), "max_tokens": 9, "temperature": 0.0, "top_k": 3}
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert server.asked[0] == plain
    assert server.asked[1] == plain | {
        "temperature": 0.5,
        "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    assert "authorization: bearer secret" in server.headers[0].lower()
    assert "secret" not in repr(chat)


def test_without_key_nothing_is_sent() -> None:
    with FakeServer() as server:
        model(server).complete([turn("q")], 9)
    assert "authorization" not in server.headers[0].lower()


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_can_pass_is_tried_again(status: int) -> None:
    found = answers(failing(failure(status), times=2), "good", "bad")
    assert found == [Answer("good", "stop"), Answer("bad", "stop")]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (failure(500, "out  of\nluck"), "HTTP 500 (out of luck)"),
        (failure(400, "too many tokens"), "HTTP 400 (too many tokens)"),
        (Reply(b"<html>gone</html>", 404), "HTTP 404 (<html>gone</html>)"),
        (Reply(b"", 502), "HTTP 502"),
        (Reply(b'{"choices": [', 200), "invalid JSON (the server's answer is no JSON object)"),
        (Reply(b"[" * 100_000, 200), "invalid JSON (the server's answer is no JSON object)"),
        (Reply(b"[]", 200), "invalid JSON (the server's answer is no JSON object)"),
        (Reply(b"\xff\xfe\xfa", 200), "invalid JSON (the server's answer is no JSON object)"),
        (Reply(b" " * (33 << 20), 200), "overlong (more than 32 MiB for one answer)"),
        (Reply(b"{}", 200), "invalid answer"),
        (Reply(b'{"choices": [{"message": 3}]}', 200), "invalid answer"),
    ],
)
def test_what_stays_wrong_is_one_answer_and_stops_no_other(reply: Reply, reason: str) -> None:
    found = answers(failing(reply), "a", "bad", "b", concurrency=1)
    assert found == [Answer("a", "stop"), Answer("", reason), Answer("b", "stop")]


def test_requests_that_can_not_succeed_are_sent_once() -> None:
    with FakeServer(failing(failure(400))) as server:
        model(server).complete([turn("bad")], 9)
        assert len(server.asked) == 1
    with FakeServer(failing(failure(500))) as server:
        model(server).complete([turn("bad")], 9)
        assert len(server.asked) == 1 + QUICK.retries


def test_a_cut_stream_is_asked_again_and_then_named() -> None:
    whole = completion("bad")
    cut = Reply(whole.body, cut=20)
    assert answers(failing(cut, times=1), "bad", "b") == [
        Answer("bad", "stop"),
        Answer("b", "stop"),
    ]
    found = answers(failing(cut), "bad", "b")
    assert found[0].finish_reason.startswith("RemoteProtocolError (")
    assert found[1] == Answer("b", "stop")


def test_a_slow_answer_is_given_up_alone() -> None:
    slow = Reply(completion("late").body, seconds=5.0)
    found = answers(failing(slow), "bad", "b", timeout=0.2, backoff=Backoff(1, 0.001))
    assert found == [Answer("", "timeout (no answer within 0.2 s)"), Answer("b", "stop")]


def test_the_server_s_own_patience_is_respected() -> None:
    naps = Naps()
    answers(failing(failure(429, Retry_After="7"), times=2), "bad", sleep=naps)
    assert naps.seconds == [7.0, 7.0]
    dated = failure(503, Retry_After="Sun, 06 Nov 1994 08:50:37 GMT")
    naps = Naps()
    answers(failing(dated, times=1), "bad", sleep=naps, clock=lambda: 784111777.0)
    assert naps.seconds == [60.0]


def test_waits_are_the_same_every_time() -> None:
    first, second = Naps(), Naps()
    for naps in (first, second):
        answers(failing(failure(500)), "bad", sleep=naps, backoff=Backoff(4))
    assert first.seconds == second.seconds
    assert len(first.seconds) == 4 and sorted(first.seconds) == first.seconds


def test_a_server_that_restarts_is_found_again() -> None:
    with FakeServer() as first:
        chat = model(first)
        assert chat.complete([turn("q")], 9) == [Answer("q", "stop")]
    with ExitStack() as later:
        naps: list[float] = []

        async def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 2:
                later.enter_context(FakeServer(port=first.port))

        assert model(first, sleep=nap).complete([turn("q")], 9) == [Answer("q", "stop")]
        assert len(naps) == 2


def test_a_server_that_is_gone_is_named() -> None:
    with FakeServer() as server:
        chat = model(server)
    (found,) = chat.complete([turn("q")], 9)
    assert found.finish_reason.startswith("ConnectError")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (completion("It is", "length"), Answer("It is", "length")),
        (completion(None, "content_filter"), Answer("", "filtered")),
        (completion(None, refusal="No."), Answer("No.", "refused")),
        (completion("x", "tool_calls"), Answer("x", "tool_calls")),
        (completion(None), Answer("", "stop")),
        (completion("x" * 577), Answer("x" * 576, "overlong")),
        (completion("a \ud800 dog"), Answer("a \ufffd dog", "stop")),
        (completion("x", "stop\n\x1b[2J<s>"), Answer("x", "stop 2J s")),
    ],
)
def test_why_an_answer_ended(reply: Reply, answer: Answer) -> None:
    assert answers(failing(reply), "bad") == [answer]


def test_prompts_are_counted_by_whoever_can() -> None:
    chat = turn("three words here")
    with FakeServer() as server:
        plain = EndpointChat(Server(server.url, MODEL), 4096)
        counting = EndpointChat(Server(server.url, MODEL), 4096, counts=True)
        exact = EndpointChat(Server(server.url, MODEL), 4096, byte_tokenizer(TEMPLATE))
        guess = estimate(chat)
        assert (plain.size(chat, 0), counting.size(chat, 0)) == (guess, 3)
        assert counting.size(chat, guess) == guess
        assert exact.size(chat, 0) == len("<user>three words here<assistant>")
        assert exact.prompt(chat) == "<user>three words here<assistant>"
        assert json.loads(plain.prompt(chat)) == chat
        server.tokenize = False
        assert counting.size(chat, 0) == guess


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("car", 1), ("four five", 4), ("[12]", 4), ("a\nb", 3), ("\u00e9\u732b", 5)],
)
def test_the_estimate_is_what_it_says(text: str, tokens: int) -> None:
    assert estimate(turn(text)) == 8 + tokens
    assert estimate([*turn(text), *turn(text)]) == 2 * (8 + tokens)
