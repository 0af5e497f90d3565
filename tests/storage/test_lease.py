"""Who may write in a bucket: one driver at a time, and no worker of a driver that is gone."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import pytest

from grand_pipeline import lock, publication
from grand_pipeline.errors import RunError, WorkerError
from grand_pipeline.storage import BucketPath, holder, lease
from tests.buckets import in_memory

SHORT = 0.3
"""Seconds of a lease."""


def sign(root: BucketPath, **changes: object) -> None:
    """What another process left in the lock."""
    signed = {**holder.signature(), "lease": SHORT, "beat": 0, **changes}
    (root / lease.LOCK).overwrite(json.dumps(signed).encode())


def test_one_driver_at_a_time_and_the_second_is_refused_at_once() -> None:
    root = in_memory()
    with lease.held(root, SHORT) as token:
        assert lock.held_by(root, token) and lock.busy(root)
        begun = time.monotonic()
        with (
            pytest.raises(RunError, match=f"host .*, pid {os.getpid()}, since 20"),
            lock.hold(root),
        ):
            pass
        assert time.monotonic() - begun < SHORT
    assert not lock.busy(root) and not lock.held_by(root, token)
    with lock.hold(root) as other:
        assert other != token


@pytest.mark.parametrize(
    "changes", [{"pid": 2**22 + 1}, {"born": "another"}], ids=["gone", "its number taken"]
)
def test_a_driver_that_is_known_to_be_gone_is_followed_at_once(changes: dict[str, object]) -> None:
    root = in_memory()
    sign(root, lease=60, **changes)
    assert not lock.busy(root)
    begun = time.monotonic()
    with lock.hold(root) as token:
        assert time.monotonic() - begun < 1.0
        assert lock.held_by(root, token)


@pytest.mark.parametrize(
    "changes",
    [{"host": "elsewhere"}, {"boot": "another"}, {"pid": 2**22 + 1, "processes": "a container's"}],
    ids=["another host", "another start", "another numbering"],
)
def test_a_driver_that_can_not_be_seen_is_followed_when_its_lease_is_over(
    changes: dict[str, object],
) -> None:
    root = in_memory()
    sign(root, **changes)
    begun = time.monotonic()
    with lock.hold(root) as token:
        assert time.monotonic() - begun > SHORT
        assert lock.held_by(root, token)


def test_a_driver_elsewhere_that_renews_its_lease_is_left_alone() -> None:
    root, stop = in_memory(), threading.Event()

    def live() -> None:
        beat = 0
        while not stop.wait(SHORT / 5):
            beat += 1
            sign(root, host="elsewhere", pid=77, lease=10 * SHORT, beat=beat)

    sign(root, host="elsewhere", pid=77, lease=10 * SHORT)
    driver = threading.Thread(target=live)
    driver.start()
    try:
        assert lock.busy(root)
        with pytest.raises(RunError, match="host elsewhere, pid 77"), lock.hold(root):
            pass
    finally:
        stop.set()
        driver.join()


@pytest.mark.parametrize("left", [b"", b"{}", b"[1]", b'{"token": "torn', b"\x00" * 30])
def test_what_nobody_can_read_stands_in_nobodys_way(left: bytes) -> None:
    root = in_memory()
    (root / lease.LOCK).overwrite(left)
    with lock.hold(root) as token:
        assert lock.held_by(root, token)


def race(root: BucketPath, drivers: int) -> list[str]:
    """Tokens of those of several drivers, all at once, that got the lock and hold it together."""
    ready, done = threading.Barrier(drivers), threading.Barrier(drivers)

    def drive() -> str:
        ready.wait()
        try:
            with lease.held(root, 60):
                done.wait()
                return "won"
        except RunError:
            done.wait()
            return "refused"

    with ThreadPoolExecutor(drivers) as pool:
        return [one.result() for one in [pool.submit(drive) for _ in range(drivers)]]


def test_of_several_drivers_that_follow_a_dead_one_one_wins() -> None:
    for _ in range(10):
        root = in_memory()
        sign(root, pid=2**22 + 1)
        assert sorted(race(root, 4)) == ["refused"] * 3 + ["won"]


def test_a_lease_is_renewed_while_its_driver_lives() -> None:
    root = in_memory()
    with lease.held(root, SHORT) as token:
        time.sleep(3 * SHORT)
        assert lock.held_by(root, token)
        assert json.loads((root / lease.LOCK).read_text())["beat"] >= 3


def test_a_driver_whose_run_was_taken_writes_nothing_and_says_so() -> None:
    root = in_memory()
    publication.replace(b"before", root / "run.json")
    lost = pytest.raises(RunError, match=r"taken the run over \(host elsewhere")
    with lost, lease.held(root, SHORT) as token:
        sign(root, host="elsewhere")
        for write in (
            lambda: publication.replace(b"after", root / "run.json"),
            lambda: publication.remove(root / "run.json"),
            lambda: publication.move(root / "run.json", root / "x"),
            lambda: publication.publish(pa.table({}), root / "new", {}),
        ):
            with pytest.raises(RunError, match="did not renew"):
                write()
        with pytest.raises(WorkerError), lock.admitted(root, token):
            pass
        time.sleep(SHORT)
    assert list(root.below()) == [lease.LOCK, "run.json"]
    assert (root / "run.json").read_bytes() == b"before"
    assert json.loads((root / lease.LOCK).read_text())["host"] == "elsewhere", "it stays theirs"


@contextmanager
def committing(root: BucketPath, token: str) -> Iterator[threading.Event]:
    """A worker in the middle of a commit, until the event."""
    inside, go = threading.Event(), threading.Event()

    def work() -> None:
        with lock.admitted(root, token):
            inside.set()
            go.wait()

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait()
    try:
        yield go
    finally:
        go.set()
        worker.join()


def test_a_driver_waits_for_the_commits_that_its_token_came_too_late_for() -> None:
    root = in_memory()
    sign(root, token="first", pid=2**22 + 1)
    with committing(root, "first") as go:
        timer = threading.Timer(0.4, go.set)
        timer.start()
        begun = time.monotonic()
        with lock.hold(root):
            assert time.monotonic() - begun > 0.3
        timer.join()


def test_a_worker_that_is_known_to_be_gone_is_not_waited_for() -> None:
    root = in_memory()
    note = root / lease.COMMITS / "note"
    note.overwrite(json.dumps({**holder.signature(), "pid": 2**22 + 1}).encode())
    with lock.hold(root):
        assert not note.exists()


def test_a_worker_left_behind_replaces_nothing_of_the_next_driver() -> None:
    """It looks for the version first and for the token then, so what comes after its look at the
    token has changed the version that it is about to replace."""
    path = in_memory() / "0.parquet"
    publication.publish(pa.table({"x": [0]}), path, {"by": "an earlier run"})
    looked: list[int] = []

    @contextmanager
    def overtaken() -> Iterator[None]:
        looked.append(1)
        if len(looked) > 1:
            raise WorkerError("the run has another driver by now")
        publication.replace_table(pa.table({"x": [1]}), {"by": "the next driver"}, path)
        yield

    with pytest.raises(WorkerError):
        publication.publish(pa.table({"x": [2]}), path, {"by": "zombie"}, overtaken, lambda: True)
    assert (publication.metadata(path) or {})["by"] == "the next driver"
