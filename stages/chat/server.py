"""Servers of the OpenAI kind: how they are reached, and asked again after what can pass."""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from grand_pipeline.errors import WorkerError
from stages.chat.retry import Backoff, retry_after, worth_another

if TYPE_CHECKING:
    import httpx

_DETAIL = 200
_HEADERS = ("Retry-After",)
_MOST = 32 << 20


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


class RequestError(Exception):
    """A request that failed for good: the name of the last failure, and what was said of it."""

    def __init__(self, name: str, detail: str) -> None:
        said = " ".join(detail.split())[:_DETAIL]
        super().__init__(f"{name} ({said})" if said else name)
        self.name = name


class Line:
    """A connection to a server, for one request at a time; use it with `async with`.

    A request that is given up in the moment between a connection's making and its use leaves that
    connection in the client's pool, where nothing can use or replace it, and every later request
    would wait for it in vain. So what was overdue is not asked again by the same client.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client = server.client()

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    async def request(self, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The JSON object that the server answers at its `url` + `path`: to a POST of `body`, or
        to a GET without one.

        Asks again after failures that can pass. Raises RequestError that names the last one, or
        ServerEnded.
        """
        import httpx

        server = self._server
        for attempt in range(server.backoff.retries + 1):
            asked = None
            try:
                response = await self._sent(server.url + path, body)
                if response.is_success:
                    return _object(response)
                failure = RequestError(f"HTTP {response.status_code}", _detail(response))
                if not worth_another(response.status_code):
                    raise failure
                asked = retry_after(response.headers.get("Retry-After"), server.clock())
            except TimeoutError:
                await self._renew()
                failure = RequestError("timeout", f"no answer within {server.timeout:g} s")
            except httpx.RequestError as error:
                if server.process is not None:
                    server.process.check()
                failure = RequestError(type(error).__name__, str(error))
            except ValueError:
                failure = RequestError("invalid JSON", "the server's answer is no JSON object")
            if attempt < server.backoff.retries:
                await server.sleep(server.backoff.wait(attempt, json.dumps(body), asked))
        raise failure

    async def _sent(self, url: str, body: Mapping[str, Any] | None) -> httpx.Response:
        """The whole response. Raises TimeoutError where it takes longer than `timeout`, and
        RequestError where it has no end."""
        import httpx

        method, read = "GET" if body is None else "POST", bytearray()
        async with (
            asyncio.timeout(self._server.timeout),
            self._client.stream(method, url, json=body) as response,
        ):
            async for part in response.aiter_bytes():
                read += part
                if len(read) > _MOST:
                    raise RequestError("overlong", f"more than {_MOST >> 20} MiB for one answer")
        known = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        return httpx.Response(response.status_code, headers=known, content=bytes(read))

    async def _renew(self) -> None:
        old, self._client = self._client, self._server.client()
        await old.aclose()


def ask(server: Server, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """One request by itself, as `Line.request`."""

    async def once() -> Mapping[str, Any]:
        async with Line(server) as line:
            return await line.request(path, body)

    return asyncio.run(once())


@functools.cache
def _trust() -> ssl.SSLContext:
    """Reading the certificates takes longer than most requests, so it is done once."""
    import httpx

    return httpx.create_ssl_context()


def _object(response: httpx.Response) -> Mapping[str, Any]:
    try:
        given = response.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(given, dict):
        raise ValueError("no JSON object")
    return given


def _detail(response: httpx.Response) -> str:
    """What the server says of its refusal, in OpenAI's form or as it stands."""
    try:
        given = response.json()
        error = given.get("error", given)
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, AttributeError, RecursionError):
        return response.text
