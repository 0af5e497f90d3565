"""Readers beside a driver in another process, for long: see tests/test_readers.py."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from tests.test_readers import ROWS, SHARDS, prepared, read_all, read_stats, write

SECONDS = 60

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]


def test_readers_beside_a_driver_in_another_process(tmp_path: Path) -> None:
    run = prepared(tmp_path)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    driver = context.Process(target=write, args=(run, SECONDS, stop))
    driver.start()
    try:
        seen = read_all(run, driver.is_alive)
    finally:
        stop.set()
        driver.join(120)
    assert driver.exitcode == 0
    looks = {name: found.total() for name, found in seen.items()}
    print(looks)
    assert min(looks.values()) > 5
    assert seen["read_stats"].keys() <= {shards * ROWS for shards in range(SHARDS + 1)}
    assert read_stats(run) == SHARDS * ROWS
