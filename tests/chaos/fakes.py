"""A tiny run of three stages for the chaos tests: driven with and without Ray, killed, compared."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow.parquet as pq

from grand_pipeline import build, lock, publication, runner, seal
from grand_pipeline.annotations import publish_shard
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.record import Record
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.stage import Row
from grand_pipeline.store import ANNOTATIONS, IMAGES, Run, content_digest
from grand_pipeline.verify import verify
from grand_pipeline.worker import annotate_shard
from tests.fakes import SMALL, Brightness, Caption, Graph, annotate_all, note, png

SHARD_SIZE = 2
WORKERS = 4
"""How many tasks are in flight: half a CPU each, on two."""
_PRESET = {"name": "fake", "description": "", "stages": {}}
_FORK = get_context("forkserver")
# What a child needs is imported once, and every child begins with one thread.
_FORK.set_forkserver_preload(["tests.chaos.fakes", "pyarrow.dataset"])


@dataclass(frozen=True, kw_only=True)
class Slow(Brightness):
    """Notes every call in a file, and only then takes its time."""

    calls: str = ""

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        if self.calls:
            note(self.calls, self.key, [record.image_id for record in records])
        return super().annotate(model, records)


def fake_plan(word: str = "mean", calls: str = "", seconds: float = 0.0) -> Plan:
    """Brightness, a caption that says it as `word`, its upper case; the first two note `calls`."""
    return make_plan(
        [
            Slow(calls=calls, seconds=seconds, batch_size=1, resources=SMALL),
            Caption(word=word, log=calls, resources=SMALL),
            Graph(resources=SMALL),
        ]
    )


def draw(folder: Path, indices: Collection[int]) -> Path:
    """Pictures of these numbers in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    for index in indices:
        (folder / f"{index:04d}.png").write_bytes(png(index))
    return folder


def ingested(root: Path, pictures: Sequence[Path]) -> Run:
    """What `build` does before it annotates; the caller holds the lock."""
    run = Run.create(root, _PRESET)
    publication.sweep(root)
    build.add_images(run, [str(folder) for folder in pictures], SHARD_SIZE)
    return run


def build_alone(root: Path, pictures: Sequence[Path], plan: Plan) -> None:
    """What `build` does, in this process and without Ray."""
    with lock.hold(root):
        run = ingested(root, pictures)
    annotate_all(run, plan)


def build_with_ray(root: Path, pictures: Sequence[Path], plan: Plan, temporary: str) -> None:
    """What `build` does, with a Ray of its own that keeps its files in `temporary`."""
    import ray

    with lock.hold(root) as token:
        run = ingested(root, pictures)
        ray.init(
            "local",
            num_cpus=2,
            object_store_memory=80 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=temporary,
        )
        runner.execute(run, plan, runner.up_to_date(run, plan), token, lambda outcome: None)
        ray.shutdown()


def build_with_forks(
    root: Path, pictures: Sequence[Path], plan: Plan, workers: int = WORKERS
) -> None:
    """What `build` does, each task in a process of its own, which outlives a driver that is killed.

    A worker that dies is replaced, as often as it takes.
    """
    with lock.hold(root) as token:
        run = ingested(root, pictures)
        parents = {step.key: step.parents for step in plan.steps}
        parents[ANNOTATIONS] = tuple(parents)
        todo = Schedule(parents, run.shards(), runner.up_to_date(run, plan))
        flying: dict[int, Task] = {}
        while not todo.finished:
            for step, shards in todo.ready.items():
                while shards and len(flying) < workers:
                    task = todo.start(step)
                    flying[_forked(run, plan, task, token)] = task
            pid, status = os.wait()
            task = flying.pop(pid)
            if status == 0:
                todo.finish(task)
            else:
                todo.retry(task)


def _forked(run: Run, plan: Plan, task: Task, token: str) -> int:
    """Pid of a worker that does one task."""
    if pid := os.fork():
        return pid
    try:
        # Ray's workers inherit nothing either, the driver's lock least of all.
        os.closerange(3, 1024)
        work(run, plan, task, token)
        os._exit(0)
    finally:
        os._exit(1)


def work(run: Run, plan: Plan, task: Task, token: str) -> None:
    """One task, as a worker does it."""
    if task.step == ANNOTATIONS:
        publish_shard(run, plan, task.shard, token)
    else:
        step = plan.step(task.step)
        annotate_shard(run, step, step.stage.load("cpu"), task.shard, token)


# Children and what happens to them


def in_child(target: Callable[..., object], *arguments: object) -> int:
    """Exit code of a fresh process that makes this call; negative is the signal that ended it."""
    child = _FORK.Process(target=target, args=arguments)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def started(target: Callable[..., object], *arguments: object) -> Any:
    """A fresh process that makes this call."""
    child = _FORK.Process(target=target, args=arguments)
    child.start()
    return child


def wait_until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Return as soon as `holds()` does; fail when it does not."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def stop() -> None:
    """Stand still, as on a machine that swaps; `resume` ends it."""
    os.kill(os.getpid(), signal.SIGSTOP)


def stopped(child: Any) -> bool:
    """Whether a child stands still, or has ended without doing so."""
    if child.exitcode is not None:
        return True
    with suppress(FileNotFoundError):
        state = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "Tt"
    return False


def resume(child: Any) -> None:
    """Let a child that stands still go on."""
    if child.exitcode is None:
        os.kill(child.pid, signal.SIGCONT)


def die() -> None:
    """End this process as the kernel does when memory is short: no clean-up, no last word."""
    os.kill(os.getpid(), signal.SIGKILL)


_AUDITED = {
    "os.link": "link",
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "fcntl.flock": "flock",
}
_CALLED = frozenset({"fsync", "write", "flush", "truncate"})
STEPS = frozenset({"open", *_AUDITED.values(), *_CALLED})
"""Every kind of step there is."""
CHANGES = STEPS - {"write", "fsync", "flock"}
"""Those after which another process sees another disk. What is written stands in a buffer
until it is flushed; fsync and locks change nothing for the living."""


def watch_steps(seen: Callable[[str], None]) -> None:
    """Call `seen` with the kind right before each step of this thread that changes the disk.

    What Python tells an audit hook, and the calls that it does not audit. There is no way back, so
    this is for child processes.
    """

    def audited(event: str, given: tuple[Any, ...]) -> None:
        if event in _AUDITED:
            seen(_AUDITED[event])
        elif event == "open" and isinstance(given[2], int) and given[2] & (os.O_CREAT | os.O_RDWR):
            seen("open")

    def called(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and getattr(function, "__name__", "") in _CALLED:
            seen(function.__name__)

    sys.addaudithook(audited)
    sys.setprofile(called)


def at_step(number: int, act: Callable[[], object], kinds: Collection[str] = CHANGES) -> None:
    """Have `act` called right before the `number`-th step of these kinds from now."""
    left = number

    def count(kind: str) -> None:
        nonlocal left
        if kind in kinds:
            left -= 1
            if left == 0:
                act()

    watch_steps(count)


# What a run holds


def content(root: Path) -> dict[str, str]:
    """Relative path of every file -> digest of what it means.

    That is all columns and rows in order, and the footer without the name of the attempt and the
    checksum of the bytes, which say who wrote the file and when.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {path.relative_to(root).as_posix(): _meaning(path) for path in files}


def _meaning(path: Path) -> str:
    if path.suffix == ".parquet":
        footer = publication.metadata(path) or {}
        footer.pop("attempt", None)
        told = content_digest(pq.read_table(path)) + json.dumps(footer, sort_keys=True)
    elif path.name == "run.json":
        info = json.loads(path.read_text())
        told = json.dumps({k: v for k, v in info.items() if k not in ("created", seal.KEY)})
    else:
        told = "" if path.name in lock.FILES else path.read_bytes().hex()
    return hashlib.sha256(told.encode()).hexdigest()


def committed(root: Path) -> dict[int, Path]:
    """Inode -> path of every fragment and file of published rows, on its shelf or not."""
    paths = [path for path in root.rglob("*.parquet") if path.parent.name != IMAGES]
    return {path.stat().st_ino: path for path in paths}


def torn(root: Path) -> list[Path]:
    """Files under a final name that are not whole."""
    found = []
    for path in [*root.rglob("*.parquet"), *root.glob("run.json")]:
        with suppress(FileNotFoundError):  # A driver at work has moved it to its shelf meanwhile.
            if publication.look(path, seal.fault) is not None:
                found.append(path)
    return found


def assert_whole(root: Path) -> None:
    """No torn, foreign, left over or contradicting file."""
    report = verify(root)
    assert not report.busy
    assert report.findings == ()
