"""Who may write: one driver at a time, and no worker of a driver that is gone."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pytest

from grand_pipeline import lock
from grand_pipeline.errors import RunError, WorkerError
from grand_pipeline.store import Run
from grand_pipeline.worker import annotate_shard
from tests.chaos import fakes
from tests.chaos.fakes import build_alone, fake_plan, in_child, started, wait_until

KEY, SHARD = "caption.fake", "00000"
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def drive(root: Path, told: Path) -> None:
    """A driver that does nothing but say its token."""
    with lock.hold(root) as token:
        told.with_suffix(".new").write_text(token)
        told.with_suffix(".new").rename(told)
        signal.pause()


def write(root: Path, token: str, number: int, kinds: Collection[str]) -> None:
    """A worker that stands still before a step of its commit. Ends with 1 when turned away."""
    step = fake_plan("mean").step(KEY)
    fakes.at_step(number, fakes.stop, kinds)
    annotate_shard(Run(root), step, None, SHARD, token)


def current(root: Path) -> dict[str, str]:
    """What the run holds now, without what was superseded."""
    return {path: value for path, value in fakes.content(root).items() if ".shelf" not in path}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.draw(tmp_path_factory.mktemp("pictures"), range(4))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run with its first stage done."""
    root = tmp_path_factory.mktemp("begun") / "run"
    build_alone(root, [pictures], fake_plan("mean"))
    for key in (KEY, "graph"):
        shutil.rmtree(root / "stages" / key)
    shutil.rmtree(root / "annotations")
    return root


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> dict[str, str]:
    """The same pictures with the option that the second driver has."""
    root = tmp_path_factory.mktemp("undisturbed") / "run"
    build_alone(root, [pictures], fake_plan("average"))
    return current(root)


def overtaken(
    begun: Path, pictures: Path, root: Path, number: int, kinds: Collection[str]
) -> int | None:
    """A worker stands still, its driver is killed, another one with another option builds, and the
    worker goes on. Its exit code; None when it has no step of this number."""
    shutil.copytree(begun, root)
    driver = started(drive, root, root.with_suffix(".token"))
    wait_until(root.with_suffix(".token").exists)
    token = root.with_suffix(".token").read_text()
    worker = started(write, root, token, number, kinds)
    wait_until(partial(fakes.stopped, worker))
    late = worker.exitcode is not None
    driver.kill()
    driver.join()
    second = started(build_alone, root, [pictures], fake_plan("average"))
    # In the middle of its commit a worker is waited for, and has to go on first.
    second.join(timeout=1.0)
    fakes.resume(worker)
    second.join()
    worker.join()
    assert second.exitcode == 0
    return None if late else int(worker.exitcode)


@pytest.mark.parametrize(("kind", "code"), [("flush", 1), ("link", 0)])
def test_a_worker_left_behind_disturbs_nothing(
    begun: Path, undisturbed: dict[str, str], pictures: Path, tmp_path: Path, kind: str, code: int
) -> None:
    assert overtaken(begun, pictures, tmp_path / "run", 1, {kind}) == code
    assert current(tmp_path / "run") == undisturbed
    fakes.assert_whole(tmp_path / "run")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_worker_left_behind_at_any_step_disturbs_nothing(
    begun: Path, undisturbed: dict[str, str], pictures: Path, tmp_path: Path
) -> None:
    codes: list[int | None] = []
    while None not in codes:
        root = tmp_path / str(len(codes))
        codes.append(overtaken(begun, pictures, root, len(codes) + 1, fakes.STEPS))
        assert current(root) == undisturbed, f"step {len(codes)}"
        fakes.assert_whole(root)
    print(f"{len(codes) - 1} steps, turned away at {codes.count(1)}")
    assert codes.count(1) > 5 and codes.count(0) > 3


def test_a_second_driver_is_refused_at_once_with_the_name_of_the_first(tmp_path: Path) -> None:
    root = tmp_path / "run"
    driver = started(drive, root, tmp_path / "token")
    wait_until((tmp_path / "token").exists)
    begun = time.monotonic()
    with pytest.raises(RunError) as refused, lock.hold(root):
        pass
    assert time.monotonic() - begun < 1.0
    signed = json.loads((root / ".lock").read_text())
    assert f"host {socket.gethostname()}, pid {driver.pid}, since {signed['started']}" in str(
        refused.value
    )
    driver.kill()
    driver.join()
    begun = time.monotonic()
    with lock.hold(root) as token:
        assert time.monotonic() - begun < 0.5
        assert lock.held_by(root, token)


def signature(**changes: object) -> str:
    here = {"token": "t", "host": socket.gethostname(), "boot": BOOT, "pid": os.getpid()}
    return json.dumps({**here, "started": "2026-01-01T00:00:00+00:00", **changes})


@pytest.mark.parametrize(
    "left",
    [
        signature(pid=2**22 + 1),
        signature(boot="another start of this machine"),
        signature(host="a-machine-nobody-knows"),
        signature(pid="not a number"),
        "",
        "[1]",
        '{"token": "torn',
        "\x00" * 30,
    ],
)
def test_what_a_dead_driver_left_stands_in_nobodys_way(tmp_path: Path, left: str) -> None:
    (tmp_path / ".lock").write_text(left)
    begun = time.monotonic()
    with lock.hold(tmp_path) as token:
        assert time.monotonic() - begun < 0.4
        assert lock.held_by(tmp_path, token)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (signature(), r"writing '.*' \(host .*, pid PID, since 20"),
        (signature(pid=2**22 + 1), r"not the one that signed for it \(host .*which has ended"),
        (signature(boot="another start"), r"which has ended; `fuser .*\.lock` names it"),
        (signature(host="elsewhere"), r"host elsewhere, .*from here nobody can see"),
        ("", "just taking or freeing"),
    ],
)
def test_a_refusal_says_what_is_known_of_the_holder(tmp_path: Path, left: str, said: str) -> None:
    (tmp_path / ".lock").write_text(left)
    with (tmp_path / ".lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        begun = time.monotonic()
        with (
            pytest.raises(RunError, match=said.replace("PID", str(os.getpid()))),
            lock.hold(tmp_path),
        ):
            pass
        assert time.monotonic() - begun < 5.0


def test_a_driver_is_not_refused_because_somebody_asks_who_drives(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        pass
    asking = (tmp_path / ".lock").open("rb")
    fcntl.flock(asking, fcntl.LOCK_SH)
    timer = threading.Timer(0.1, asking.close)
    timer.start()
    with lock.hold(tmp_path):
        pass
    timer.join()


def test_a_worker_that_dies_while_it_writes_leaves_nothing_for_long(
    begun: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(begun, tmp_path / "run")
    with lock.hold(root) as token:
        worker = started(write, root, token, 1, {"flush"})
        wait_until(partial(fakes.stopped, worker))
        worker.kill()
        worker.join()
        assert len(list(root.rglob(".tmp-*"))) == 1
    fakes.assert_whole(root)


def test_no_file_appears_when_nobody_drives(tmp_path: Path) -> None:
    with lock.hold(tmp_path) as token, lock.admitted(tmp_path, token):
        pass
    with pytest.raises(WorkerError, match="another driver"), lock.admitted(tmp_path, token):
        pass


def test_workers_commit_side_by_side(tmp_path: Path) -> None:
    with lock.hold(tmp_path) as token, lock.admitted(tmp_path, token):
        assert in_child(admit, tmp_path, token) == 0


def admit(root: Path, token: str) -> None:
    with lock.admitted(root, token):
        pass
