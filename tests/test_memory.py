"""Limits of a worker's memory, when it is replaced, and what the driver keeps."""

from __future__ import annotations

import sys
import tracemalloc
from collections import deque
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import driver_memory
from grand_pipeline import lock, memory, runner
from grand_pipeline.actor import StageActor
from grand_pipeline.plan import make_plan
from grand_pipeline.progress import Progress
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.stage import Limits
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome
from tests.fakes import make_run
from tests.poisons import Leaking

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")

_FORK = get_context("forkserver")
MB = 2**20


def in_child(target: object, *arguments: object) -> None:
    child = _FORK.Process(target=target, args=arguments)  # type: ignore[arg-type]
    child.start()
    child.join()
    assert child.exitcode == 0


def _bounded() -> None:
    memory.bound(memory.resident() + 100 * MB)
    held = bytearray(50 * MB)
    with pytest.raises(MemoryError):
        bytearray(80 * MB)
    memory.unbound()
    assert len(bytearray(80 * MB)) + len(held) == 130 * MB


def test_a_process_grows_up_to_its_bound_and_no_further() -> None:
    in_child(_bounded)


def test_this_machine_has_more_than_this_process_holds() -> None:
    assert 10 * MB < memory.resident() < memory.machine()


def _worn(root: str, growth_gb: float, answer: str) -> None:
    run = Run(Path(root))
    limits = Limits(growth_gb=growth_gb)
    step = make_plan([Leaking(mb=40, device="cpu", limits=limits)]).steps[0]
    with lock.hold(run.root) as token:
        actor = StageActor(root, token, str(run.root / ".tmp-words"))
        worn = [actor.annotate(step, shard).worn for shard in run.shards()]
    Path(answer).write_text(" ".join(str(int(each)) for each in worn))


def test_a_worker_that_grows_says_that_it_is_worn(tmp_path: Path) -> None:
    """It leaks 40 MB with each shard; the first one counts as what the model needs."""
    run = make_run(tmp_path, images=4, shard_size=1)
    in_child(_worn, str(run.root), 0.06, str(tmp_path / "answer"))
    assert (tmp_path / "answer").read_text() == "0 0 1 1"


def _overfull(root: str) -> None:
    run = Run(Path(root))
    step = make_plan([Leaking(mb=1, device="cpu", limits=Limits(memory_gb=0.001))]).steps[0]
    with lock.hold(run.root) as token:
        actor = StageActor(root, token, str(run.root / ".tmp-words"))
        with pytest.raises(Exception, match=r"raise brightness.fake.limits.memory_gb"):
            actor.annotate(step, "00000")


def test_a_model_beyond_the_limit_is_refused_before_any_image(tmp_path: Path) -> None:
    in_child(_overfull, str(make_run(tmp_path).root))


@dataclass
class Obedient:
    """Workers that have done what they are given at once."""

    doing: deque[Task] = field(default_factory=deque)

    def dispatch(self, todo: Schedule) -> None:
        for step, shards in todo.ready.items():
            while shards and len(self.doing) < 4:
                self.doing.append(todo.start(step))

    def next(self) -> tuple[Task, Outcome | None]:
        task = self.doing.popleft()
        return task, Outcome(*task, rows=100, failed=0, skipped=0, seconds=0.1)


def kept_by_a_driver(root: Path, images: int) -> int:
    """Bytes that are alive when a driver has had so many images annotated."""
    plan = driver_memory.plan()
    run = driver_memory.make_run(root, images, shard_size=100)
    progress = Progress(Console(quiet=True))
    tracemalloc.start()
    try:
        parents = {step.key: step.parents for step in plan.steps}
        parents[ANNOTATIONS] = tuple(parents)
        todo = Schedule(parents, run.shards(), runner.up_to_date(run, plan))
        runner.drive(Obedient(), todo, progress.report)
        assert todo.finished
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_the_driver_keeps_nothing_of_an_image(tmp_path: Path) -> None:
    kept_by_a_driver(tmp_path / "first", 200)  # What is imported and cached once.
    few, many = (kept_by_a_driver(tmp_path / str(n), n) for n in (1000, 4000))
    # An id alone would be 81 bytes.
    assert (many - few) / 3000 < 20
