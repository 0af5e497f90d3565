"""A stage that some images are fatal to, and a driver without Ray: one process after the other."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from grand_pipeline import lastwords, lock, runner
from grand_pipeline.actor import StageActor
from grand_pipeline.annotations import publish_shard
from grand_pipeline.plan import Plan, Step
from grand_pipeline.poison import Ladder, Turn
from grand_pipeline.record import Record
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.stage import Failed, Limits, Row
from grand_pipeline.store import ANNOTATIONS, Run
from tests.fakes import Brightness

QUICK = Limits(image_seconds=1.0)
POOR = Limits(image_seconds=60.0, memory_gb=0.4)
_FORK = get_context("forkserver")


def strike(kind: str) -> None:
    """What a bad image can do to a process."""
    if kind == "raise":
        raise ValueError("a bad image")
    if kind == "exit":
        os._exit(17)
    if kind == "segv":
        ctypes.string_at(0)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(64 * 2**20))
    if kind == "hang":
        time.sleep(3600)
    if kind == "hold":  # In C, and no other thread of Python runs meanwhile.
        sum(range(10**12))


@dataclass(frozen=True, kw_only=True)
class Fatal(Brightness):
    """Brightness, but some images do something bad: pairs of a file's name and what it does."""

    bad: tuple[tuple[str, str], ...] = ()
    whole: bool = False
    once: str = ""
    """A folder where bad images leave a note, so that they are bad only once."""

    @property
    def whole_shards(self) -> bool:
        return self.whole

    def annotate(self, model: float, records: Sequence[Record]) -> Sequence[Row | Failed]:
        kinds = dict(self.bad)
        for record in records:
            name = Path(record.uri).name
            if name in kinds and not (self.once and self._noted(name)):
                strike(kinds[name])
        return super().annotate(model, records)

    def _noted(self, name: str) -> bool:
        note = Path(self.once) / name
        seen = note.exists()
        note.touch()
        return seen


class PoisonFiles(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """poison://KIND/PATH: the local file, but opening it does something bad."""

    protocol = ("poison",)

    def _open(self, path: str, mode: str = "rb", **more: Any) -> BinaryIO:
        kind, _, local = str(path).partition("poison://")[2].partition("/")
        strike(kind)
        file: BinaryIO = open("/" + local, "rb")  # noqa: SIM115  # the caller closes it
        return file

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path


fsspec.register_implementation("poison", PoisonFiles, clobber=True)


def annotate_in_processes(run: Run, plan: Plan) -> Counter[str]:
    """What the runner does, with a fresh process for every turn; deaths per step."""
    # Beside the run: what is left in it is swept when its driver ends.
    log = run.root.with_name(f"{run.root.name}-deaths")
    log.touch()
    # Forks are for processes of one thread, which that of a test need not be.
    driver = _FORK.Process(target=_drive, args=(str(run.root), plan, str(log)))
    driver.start()
    driver.join()
    assert driver.exitcode == 0
    deaths = Counter(log.read_text().split())
    log.unlink()
    return deaths


def _drive(root: str, plan: Plan, log: str) -> None:
    run = Run(Path(root))
    with lock.hold(run.root) as token:
        parents = {step.key: step.parents for step in plan.steps}
        parents[ANNOTATIONS] = tuple(parents)
        todo, ladder = Schedule(parents, run.shards(), runner.up_to_date(run, plan)), Ladder()
        while not todo.finished:
            task = todo.start(next(key for key, shards in todo.ready.items() if shards))
            if task.step == ANNOTATIONS:
                assert _in_fork(publish_shard, run, plan, task.shard, token) == 0
                todo.finish(task)
            elif _turn(run, plan.step(task.step), token, task, ladder, Path(log)):
                todo.finish(task)
            else:
                todo.retry(task)


def _turn(run: Run, step: Step, token: str, task: Task, ladder: Ladder, log: Path) -> bool:
    """One turn in a process of its own; whether the task is done."""
    words, answer = run.root / ".tmp-words", run.root / ".tmp-answer"
    if _in_fork(_work, run, token, words, step, task.shard, ladder.turn(task), answer):
        with log.open("a") as file:
            file.write(f"{task.step}\n")
        ladder.died(task, lastwords.read(words), "")
        return False
    pending, fruitful = map(int, answer.read_text().split())
    answer.unlink()
    words.unlink()
    return ladder.survived(task, pending=pending, fruitful=bool(fruitful))


def _in_fork(target: Callable[..., object], *arguments: object) -> int:
    child = os.fork()
    if not child:
        try:
            target(*arguments)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def _work(
    run: Run, token: str, words: Path, step: Step, shard: str, turn: Turn, answer: Path
) -> None:
    outcome = StageActor(str(run.root), token, str(words)).annotate(step, shard, turn)
    fruitful = outcome.rows > outcome.failed + outcome.skipped + outcome.pending
    answer.write_text(f"{outcome.pending} {int(fruitful)}")


@dataclass(frozen=True, kw_only=True)
class Leaking(Brightness):
    """Keeps so much memory with every call that it never gives back."""

    mb: int = 1
    pids: str = ""
    """A file that gets the process's number with every call."""

    def annotate(self, model: float, records: Sequence[Record]) -> Sequence[Row | Failed]:
        if self.pids:
            with Path(self.pids).open("a") as file:
                file.write(f"{os.getpid()}\n")
        _LEAK.append(bytearray(b"x") * (self.mb * 2**20))
        return super().annotate(model, records)


_LEAK: list[bytearray] = []
