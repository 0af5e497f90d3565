"""Calls in threads: in order, a few at a time, and none waited for too long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event, Lock

import pytest

from grand_pipeline import bounded


def test_answers_come_in_order_and_few_calls_run_at_a_time() -> None:
    running: list[int] = []
    most: list[int] = []
    lock = Lock()

    def double(number: int) -> int:
        with lock:
            running.append(number)
            most.append(len(running))
        time.sleep(0.002 * (number % 3))
        with lock:
            running.remove(number)
        return 2 * number

    found = list(bounded.answers(double, range(50), threads=3, seconds=60))
    assert found == [(number, 2 * number) for number in range(50)]
    assert 1 < max(most) <= 3


def test_what_a_call_raises_is_raised_in_its_turn() -> None:
    def late(number: int) -> int:
        if number == 2:
            raise TimeoutError("of its own, and no sign that it took long")
        return number

    coming = bounded.answers(late, range(9), threads=2, seconds=60)
    assert [next(coming), next(coming)] == [(0, 0), (1, 1)]
    with pytest.raises(TimeoutError, match="of its own"):
        next(coming)


def test_calls_that_hang_hold_up_no_others() -> None:
    never = Event()

    def hang(number: int) -> int:
        if number % 2:
            never.wait(60)
        return number

    begun = time.monotonic()
    found = list(bounded.answers(hang, range(6), threads=2, seconds=0.5))
    never.set()
    assert found == [(number, None if number % 2 else number) for number in range(6)]
    assert time.monotonic() - begun < 20, "each hangs for a minute"


def test_no_more_is_taken_than_twice_as_much_as_can_run() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    coming = bounded.answers(lambda number: number, endless(), threads=3, seconds=60)
    assert next(coming) == (0, 0)
    assert len(taken) == 6
    coming.close()
