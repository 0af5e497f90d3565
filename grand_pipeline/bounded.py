"""Calls in threads, in order, none of which is waited for longer than so many seconds.

A call that never comes back can not be ended. Its thread is left behind, another takes its place,
and none of them keeps the process alive.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

A = TypeVar("A")
T = TypeVar("T")


class _Job(Generic[A, T]):
    def __init__(self, given: A) -> None:
        self.given = given
        self.answer: Future[T] = Future()
        self._begun = Event()
        self._since = 0.0

    def run(self, call: Callable[[A], T]) -> None:
        self._since = time.monotonic()
        self._begun.set()
        try:
            self.answer.set_result(call(self.given))
        except BaseException as error:
            self.answer.set_exception(error)

    def comes_within(self, seconds: float) -> bool:
        self._begun.wait()
        left = self._since + seconds - time.monotonic()
        return bool(wait([self.answer], timeout=max(0.0, left)).done)


def answers(
    call: Callable[[A], T], given: Iterable[A], *, threads: int, seconds: float
) -> Generator[tuple[A, T | None], None, None]:
    """`call` of each one that is given, in order; None where no answer came in time.

    At most `threads` calls run, beside those that hang, and at most twice as many answers wait.
    Raises what a call raises, in its turn.
    """
    asked: SimpleQueue[_Job[A, T] | None] = SimpleQueue()
    flying: deque[_Job[A, T]] = deque()
    hired: list[Thread] = []

    def work() -> None:
        while (job := asked.get()) is not None:
            job.run(call)

    def hire() -> None:
        hired.append(Thread(target=work, daemon=True, name="bounded"))
        hired[-1].start()

    def oldest() -> tuple[A, T | None]:
        job = flying.popleft()
        if job.comes_within(seconds):
            return job.given, job.answer.result()
        hire()
        return job.given, None

    try:
        for _ in range(threads):
            hire()
        for one in given:
            flying.append(_Job(one))
            asked.put(flying[-1])
            if len(flying) >= 2 * threads:
                yield oldest()
        while flying:
            yield oldest()
    finally:
        for _ in hired:
            asked.put(None)
