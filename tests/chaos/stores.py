"""A store that fails, and processes that drive a run in a bucket."""

from __future__ import annotations

import http.client
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from grand_pipeline import lock, runner
from grand_pipeline.plan import Plan
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.storage import BucketPath, Place
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.verify import verify
from tests import buckets
from tests.chaos import fakes
from tests.chaos.fakes import build_alone

FAULTS = ("500", "503", "cut", "lost", "delay")
"""Two errors of the server; a line that is cut before the request, or when it is done and before
the answer; an answer that comes late."""
REQUESTS = frozenset({"get", "put", "head", "list", "list_with_delimiter", "copy", "delete"})
CHANGES = frozenset({"put", "copy", "delete"})


class Proxy(ThreadingHTTPServer):
    """Stands before a server, and fails as often as it is told to; `careless` drops conditions."""

    daemon_threads = True

    def __init__(self, endpoint: str, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(endpoint)
        self.random = random.Random(seed)
        self.share = 0.0
        self.until: int | None = None
        """After so many requests, all fail."""
        self.careless = False
        self.kinds: tuple[str, ...] = FAULTS
        self.done: Counter[str] = Counter()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def fault(self) -> str:
        """What happens to the next request; empty where nothing does."""
        self.done["all"] += 1
        over = self.until is not None and self.done["all"] > self.until
        if not over and self.random.random() >= self.share:
            return ""
        kind = self.random.choice(self.kinds)
        self.done[kind] += 1
        return kind

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that were killed are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault()
        if fault == "cut":
            self.close_connection = True
            return
        if fault in ("500", "503"):
            self._answer(int(fault), {}, b"")
            return
        if fault == "delay":
            time.sleep(0.5)
        behind = http.client.HTTPConnection(self.server.behind.netloc, timeout=60)
        left_out = {"connection", *(("if-match", "if-none-match") if self.server.careless else ())}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in left_out}
        behind.request(self.command, self.path, body, headers)
        answer = behind.getresponse()
        data = answer.read()
        behind.close()
        if fault == "lost":
            self.close_connection = True
            return
        self._answer(answer.status, dict(answer.getheaders()), data)

    def _answer(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.send_response_only(status)
        length = str(len(data))
        if self.command == "HEAD":  # It says how long the object is.
            length = next((v for k, v in headers.items() if k.lower() == "content-length"), "0")
        skipped = ("content-length", "transfer-encoding", "connection")
        for name, value in headers.items():
            if name.lower() not in skipped:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward

    def log_message(self, *told: object) -> None:
        """Nothing."""


@contextmanager
def failing(endpoint: str, seed: int = 0) -> Iterator[Proxy]:
    """A proxy before the server at `endpoint`, that does not fail yet."""
    with Proxy(endpoint, seed) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def at_request(number: int, act: Callable[[], object], kinds: Collection[str] = CHANGES) -> None:
    """Have `act` called right before the `number`-th request of these kinds of this thread."""
    left = number

    def called(frame: FrameType, event: str, function: Any) -> None:
        nonlocal left
        name = getattr(function, "__name__", "")
        # A function of an extension, and no method of a dict or a list.
        if event == "c_call" and name in kinds and getattr(function, "__self__", 0) is None:
            left -= 1
            if left == 0:
                act()

    sys.setprofile(called)


def process(endpoint: str, target: Callable[..., object], *arguments: object) -> Any:
    """A fresh process that makes this call and finds the server at `endpoint`."""
    return fakes.started(_configured, endpoint, target, arguments)


def _configured(endpoint: str, target: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.environ.update(buckets.environment(endpoint))
    target(*arguments)


def ended(child: Any, seconds: float = 300.0) -> int:
    """Exit code of a process that comes to its end."""
    child.join(seconds)
    assert child.exitcode is not None, "it must come to its end"
    return int(child.exitcode)


def build_with_processes(
    endpoint: str, root: Place, pictures: Path, plan: Plan, told: Path, workers: int = 3
) -> None:
    """What `build` does, each task in a process of its own, which outlives a driver that is killed.

    A worker that dies is replaced; the pids of the workers are written to `told`.
    """
    with lock.hold(root) as token:
        run = fakes.ingested(root, [pictures])
        parents = {step.key: step.parents for step in plan.steps}
        parents[ANNOTATIONS] = tuple(parents)
        todo = Schedule(parents, run.shards(), runner.up_to_date(run, plan))
        flying: dict[int, tuple[Any, Task]] = {}
        while not todo.finished:
            for step, shards in todo.ready.items():
                while shards and len(flying) < workers:
                    task = todo.start(step)
                    child = process(endpoint, fakes.work, run, plan, task, token)
                    flying[child.sentinel] = child, task
            told.write_text(" ".join(str(child.pid) for child, _ in flying.values()))
            for sentinel in wait(list(flying)):
                child, task = flying.pop(int(str(sentinel)))
                child.join()
                if child.exitcode == 0:
                    todo.finish(task)
                else:
                    todo.retry(task)


def ids(run: Run) -> list[str]:
    """The ids of all images, in order."""
    return [row.image_id for row in run.images()]


# What a run holds


def content(root: Place, folder: Path) -> dict[str, str]:
    """What `fakes.content` says, without what locks are taken on."""
    found = fakes.content(buckets.downloaded(root, folder))
    return {n: v for n, v in found.items() if not n.startswith((".lock", ".commit"))}


def current(root: Place, folder: Path) -> dict[str, str]:
    """The same without what was superseded."""
    return {name: v for name, v in content(root, folder).items() if ".shelf" not in name}


def undisturbed(pictures: Path, folder: Path, plan: Plan) -> dict[str, str]:
    """What a build of the same pictures here, which nobody disturbs, ends with."""
    build_alone(folder, [pictures], plan)
    return content(folder, folder.with_name(f"{folder.name}-copy"))


def remote() -> BucketPath:
    """A fresh place for a run in the bucket."""
    root = buckets.in_s3()
    assert isinstance(root, BucketPath)
    return root


def assert_whole(root: Place) -> None:
    """No torn, foreign, left over or contradicting file, and nobody at work."""
    report = verify(root)
    assert not report.busy
    assert report.findings == ()
