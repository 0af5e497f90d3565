"""Language models behind an OpenAI-compatible server, such as vLLM."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from grand_pipeline import inert
from prompts import Message
from stages.chat import template
from stages.chat.bound import estimate
from stages.chat.dialog import Dialog, Request, single, step
from stages.chat.finish import FILTERED, OVERLONG, REFUSED
from stages.chat.interface import GREEDY, LENGTH, STOP, Answer, Decoding
from stages.chat.server import Line, RequestError, Server, ServerEnded, ask

T = TypeVar("T")

LETTERS = 64
"""Characters that an answer may have per token that was asked for. A server that says more does
not keep to what it was told."""

_REASONS = {"stop": STOP, "length": LENGTH, "content_filter": FILTERED}


@dataclass(frozen=True)
class EndpointChat:
    """A chat model behind a server. Many requests are under way at once; each fails alone.

    Prompts are counted with `tokenizer` if there is one, else by the server's `/tokenize` if
    `counts` says that it has one (vLLM), else by `estimate`.
    """

    server: Server
    context_length: int
    tokenizer: Any = None
    counts: bool = False

    def prompt(self, messages: Sequence[Message]) -> str:
        """The chat in the tokenizer's template, or without tokenizer as the JSON that is sent."""
        if self.tokenizer is None:
            return json.dumps(list(messages), ensure_ascii=False)
        return template.rendered(self.tokenizer, messages)

    def size(self, messages: Sequence[Message], room: int) -> int:
        """Tokens of a chat's prompt. The server is asked only where the estimate is too large."""
        if self.tokenizer is not None:
            return template.count(self.tokenizer, self.prompt(messages))
        guess = estimate(messages)
        if guess <= room or not self.counts:
            return guess
        asked = {"model": self.server.model, "messages": list(messages)}
        try:
            return int(ask(self.server.root, "/tokenize", asked)["count"])
        except (RequestError, KeyError, TypeError, ValueError):
            return guess

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        """One answer per chat, in order; at most `concurrency` requests are under way."""
        return self.hold(single(Request(chat, max_new_tokens, decoding)) for chat in chats)

    def hold(self, dialogs: Iterable[Dialog[T]]) -> list[T]:
        """What came of every dialog, in order. `concurrency` of them are held at once; as one
        ends the next begins, so that no request waits for another dialog's. Raises SystemExit when
        the server was our own and has ended."""
        try:
            return asyncio.run(self._hold(dialogs))
        except ServerEnded as error:
            # Asking on would make every image an error row. The worker ends with its server, and
            # the shard is taken again by another one with a new server.
            raise SystemExit(str(error)) from None

    def body(self, request: Request) -> dict[str, Any]:
        """What is sent for one answer; a picture stands before the words of its turn."""
        decoding, messages = request.decoding, [dict[str, Any](turn) for turn in request.messages]
        if request.picture:
            seen = {"type": "image_url", "image_url": {"url": request.picture}}
            messages[-1]["content"] = [seen, {"type": "text", "text": messages[-1]["content"]}]
        asked: dict[str, Any] = {
            "model": self.server.model,
            "messages": messages,
            "max_tokens": request.max_new_tokens,
            "temperature": decoding.temperature,
        }
        if decoding.seed is not None:
            asked["seed"] = decoding.seed
        if decoding.schema:
            schema = {"name": "answer", "schema": json.loads(decoding.schema), "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        return asked | dict(self.server.extra)

    async def _hold(self, dialogs: Iterable[Dialog[T]]) -> list[T]:
        """As many workers as requests may be under way take the dialogs one after the other."""
        ended: dict[int, T] = {}
        coming = enumerate(dialogs)

        async def work() -> None:
            if (first := next(coming, None)) is None:
                return
            async with Line(self.server) as line:
                for n, dialog in itertools.chain([first], coming):
                    ended[n] = await self._through(line, thread, dialog)

        # Prompts are made and counted beside the loop, for a tokenizer takes its time, and it is
        # not to be used from several threads.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompts") as thread:
            await asyncio.gather(*(work() for _ in range(self.server.concurrency)))
        return [ended[n] for n in range(len(ended))]

    async def _through(self, line: Line, thread: Executor, dialog: Dialog[T]) -> T:
        """One dialog up to its end."""
        loop = asyncio.get_running_loop()
        state = await loop.run_in_executor(thread, step, dialog)
        while isinstance(state, Request):
            answer = await self._one(line, state)
            state = await loop.run_in_executor(thread, step, dialog, answer)
        return state.value

    async def _one(self, line: Line, request: Request) -> Answer:
        try:
            given = await line.request("/chat/completions", self.body(request))
            return _answer(given, LETTERS * request.max_new_tokens)
        except RequestError as error:
            return Answer("", str(error))


def _answer(given: Mapping[str, Any], most: int) -> Answer:
    """The first choice of a completion, `most` characters of it. Never fails: what can not be read
    is named."""
    try:
        choice = given["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal")
        said = choice.get("finish_reason") or STOP
    except (KeyError, IndexError, TypeError, AttributeError):
        return Answer("", "invalid answer")
    if refusal:
        return Answer(inert.encodable(str(refusal)[:most]), REFUSED)
    answer = inert.encodable(str(text)[:most])
    return Answer(answer, OVERLONG if len(str(text)) > most else _reason(said))


def _reason(said: object) -> str:
    return _REASONS.get(str(said)) or inert.words(str(said))
