"""Language models behind an OpenAI-compatible server, such as vLLM."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from grand_pipeline.errors import WorkerError
from prompts import Message
from stages.chat import template
from stages.chat.bound import estimate
from stages.chat.dialog import Dialog, Request, single, step
from stages.chat.finish import FILTERED, REFUSED
from stages.chat.interface import GREEDY, LENGTH, STOP, Answer, Decoding
from stages.chat.retry import Backoff, retry_after, worth_another

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_REASONS = {"stop": STOP, "length": LENGTH, "content_filter": FILTERED}
_DETAIL = 200


class ServerEnded(WorkerError):
    """The process of a server of our own has ended by itself."""


class Process(Protocol):
    """A server's process."""

    def check(self) -> None:
        """Raises ServerEnded if it has."""


@dataclass(frozen=True)
class Server:
    """How to reach a server. `key` is sent as bearer token where it is not empty.

    `process` is the server's, if it is our own: it lives as long as somebody can ask it, and is
    asked directly, whatever proxies there are. `timeout` is for a whole answer, in seconds. `extra`
    is merged into every request. `transport`, `sleep` and `clock` are what tests put in the place
    of network and time.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    concurrency: int = 32
    timeout: float = 300.0
    backoff: Backoff = field(default_factory=Backoff)
    extra: Mapping[str, Any] = field(default_factory=dict)
    process: Process | None = None
    transport: httpx.AsyncBaseTransport | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time

    @property
    def root(self) -> Server:
        """The same server above `/v1`, where vLLM keeps what OpenAI does not have."""
        return replace(self, url=self.url.removesuffix("/v1"))

    def client(self) -> httpx.AsyncClient:
        """A client with one connection. A pool of many looks through all of them for every
        request, which takes longer than everything else it does."""
        import httpx

        one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # Time is kept for the whole request; none of its parts needs a limit of its own, except
        # that a host which is not there should be found missing soon.
        limits = httpx.Timeout(None, connect=min(10.0, self.timeout))
        return httpx.AsyncClient(
            headers=headers,
            limits=one,
            timeout=limits,
            transport=self.transport,
            verify=_trust(),
            trust_env=self.process is None,
        )

    async def request(
        self, client: httpx.AsyncClient, path: str, body: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        """The JSON object that the server answers at `url` + `path`: to a POST of `body`, or to
        a GET without one.

        Asks again after failures that can pass. Raises RequestError that names the last one, or
        ServerEnded.
        """
        import httpx

        for attempt in range(self.backoff.retries + 1):
            asked = None
            try:
                async with asyncio.timeout(self.timeout):
                    method = "GET" if body is None else "POST"
                    response = await client.request(method, self.url + path, json=body)
                if response.is_success:
                    return _object(response)
                failure = RequestError(f"HTTP {response.status_code}", _detail(response))
                if not worth_another(response.status_code):
                    raise failure
                asked = retry_after(response.headers.get("Retry-After"), self.clock())
            except TimeoutError:
                failure = RequestError("timeout", f"no answer within {self.timeout:g} s")
            except httpx.RequestError as error:
                if self.process is not None:
                    self.process.check()
                failure = RequestError(type(error).__name__, str(error))
            except ValueError:
                failure = RequestError("invalid JSON", "the server's answer is no JSON object")
            if attempt < self.backoff.retries:
                await self.sleep(self.backoff.wait(attempt, json.dumps(body), asked))
        raise failure


class RequestError(Exception):
    """A request that failed for good: the name of the last failure, and what was said of it."""

    def __init__(self, name: str, detail: str) -> None:
        said = " ".join(detail.split())[:_DETAIL]
        super().__init__(f"{name} ({said})" if said else name)
        self.name = name


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

    def body(
        self, messages: Sequence[Message], max_new_tokens: int, decoding: Decoding
    ) -> dict[str, Any]:
        """The request for one answer."""
        asked: dict[str, Any] = {
            "model": self.server.model,
            "messages": list(messages),
            "max_tokens": max_new_tokens,
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
            async with self.server.client() as client:
                for n, dialog in itertools.chain([first], coming):
                    ended[n] = await self._through(client, thread, dialog)

        # Prompts are made and counted beside the loop, for a tokenizer takes its time, and it is
        # not to be used from several threads.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompts") as thread:
            await asyncio.gather(*(work() for _ in range(self.server.concurrency)))
        return [ended[n] for n in range(len(ended))]

    async def _through(self, client: httpx.AsyncClient, thread: Executor, dialog: Dialog[T]) -> T:
        """One dialog up to its end."""
        loop = asyncio.get_running_loop()
        state = await loop.run_in_executor(thread, step, dialog)
        while isinstance(state, Request):
            body = self.body(state.messages, state.max_new_tokens, state.decoding)
            answer = await self._one(client, body)
            state = await loop.run_in_executor(thread, step, dialog, answer)
        return state.value

    async def _one(self, client: httpx.AsyncClient, body: Mapping[str, Any]) -> Answer:
        try:
            return _answer(await self.server.request(client, "/chat/completions", body))
        except RequestError as error:
            return Answer("", str(error))


def ask(server: Server, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """One request by itself, as `Server.request`."""

    async def once() -> Mapping[str, Any]:
        async with server.client() as client:
            return await server.request(client, path, body)

    return asyncio.run(once())


@functools.cache
def _trust() -> ssl.SSLContext:
    """Reading the certificates takes longer than most requests, so it is done once."""
    import httpx

    return httpx.create_ssl_context()


def _answer(given: Mapping[str, Any]) -> Answer:
    """The first choice of a completion. Never fails: what can not be read is named."""
    try:
        choice = given["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal")
        said = choice.get("finish_reason") or STOP
    except (KeyError, IndexError, TypeError, AttributeError):
        return Answer("", "invalid answer")
    if refusal:
        return Answer(str(refusal), REFUSED)
    return Answer(str(text), _REASONS.get(said, str(said)))


def _object(response: httpx.Response) -> Mapping[str, Any]:
    given = response.json()
    if not isinstance(given, dict):
        raise ValueError("no JSON object")
    return given


def _detail(response: httpx.Response) -> str:
    """What the server says of its refusal, in OpenAI's form or as it stands."""
    try:
        given = response.json()
        error = given.get("error", given)
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, AttributeError):
        return response.text
