"""A stand-in for an OpenAI-compatible server: answers by rule, and fails when told to.

    python -m benchmarks.llm_server [--slots 64] [--seconds 1.0]

Answers and the time they take come from the question alone, so that runs can be compared. `slots`
is how many questions it works on at once, as a real server's batch; `seconds` is how long one
takes on average (`duration`). As a program
it prints its address and serves until its input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MODEL = "fake"
_STATUS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True)
class Reply:
    """What the server sends: after `seconds`, and only the first `cut` bytes of it if given."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    cut: int | None = None


Rule = Callable[[Mapping[str, Any], int], Reply]
"""The reply to a question that is asked for the n-th time, counted from 0."""


def completion(text: str | None, reason: str = "stop", **message: Any) -> Reply:
    """An answer in OpenAI's form."""
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
    return Reply(json.dumps({"choices": [{"index": 0, **choice}]}).encode())


def failure(status: int, message: str = "", **headers: str) -> Reply:
    """An error in OpenAI's form; underscores in names of headers stand for hyphens."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(json.dumps({"error": {"message": message}}).encode(), status, named)


def echo(asked: Mapping[str, Any], times: int) -> Reply:
    """The last line of the question."""
    return completion(question(asked).rpartition("\n")[2])


def question(asked: Mapping[str, Any]) -> str:
    """The words of the last turn, which may have a picture beside them."""
    said = asked["messages"][-1]["content"]
    return said if isinstance(said, str) else "".join(part.get("text", "") for part in said)


def duration(question: str, seconds: float) -> float:
    """Seconds that an answer takes, by the question: 0.5 to 1.5 times `seconds`."""
    return seconds * (0.5 + zlib.crc32(question.encode()) / 2**32)


@dataclass
class FakeServer:
    """The server in a thread of its own; use it with `with`. Port 0 takes a free one.

    `asked` are all questions in the order they came, `most` is how many were under way at once.
    """

    rule: Rule = echo
    port: int = 0
    slots: int = 1000
    seconds: float = 0.0
    context_length: int | None = 4096
    tokenize: bool = True
    keep: bool = True
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    most: int = 0
    _now: int = 0
    _times: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        """The address with /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeServer:
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        ready = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._start(ready)))
        self._thread.start()
        if not ready.wait(30):
            raise RuntimeError("the fake server did not start")
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _start(self, ready: threading.Event) -> None:
        self._room = asyncio.Semaphore(self.slots)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        ready.set()

    async def _stop(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after the other until either side hangs up."""
        self._open.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        reply = await self._reply(head, body)
        await asyncio.sleep(reply.seconds)
        lines = [
            f"HTTP/1.1 {reply.status} {_STATUS.get(reply.status, 'Error')}",
            *(f"{name}: {value}" for name, value in reply.headers),
            f"Content-Length: {len(reply.body)}",
        ]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body[: reply.cut])
        await writer.drain()
        return reply.cut is None

    async def _reply(self, head: str, body: bytes) -> Reply:
        path = head.split(" ", 2)[1]
        if path == "/v1/models":
            known = {"id": MODEL, "max_model_len": self.context_length}
            return Reply(json.dumps({"data": [known]}).encode())
        asked = json.loads(body or b"{}")
        if path == "/tokenize" and self.tokenize:
            count = sum(len(turn["content"].split()) for turn in asked["messages"])
            return Reply(json.dumps({"count": count}).encode())
        if path != "/v1/chat/completions":
            return failure(404, f"nothing at {path}")
        return await self._complete(head, asked)

    async def _complete(self, head: str, asked: Mapping[str, Any]) -> Reply:
        async with self._room:
            self._now += 1
            self.most = max(self.most, self._now)
            times = 0
            if self.keep:
                self.asked.append(asked)
                self.headers.append(head)
                key = json.dumps(asked["messages"])
                times, self._times[key] = self._times[key], self._times[key] + 1
            await asyncio.sleep(duration(question(asked), self.seconds))
            self._now -= 1
        return self.rule(asked, times)


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slots", type=int, default=64, help="questions worked on at once")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long one takes")
    given = parser.parse_args()
    with FakeServer(slots=given.slots, seconds=given.seconds, keep=False) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
