"""However a run is computed, its content is the same: by how many workers, in which order, in what
batches, and how often it was stopped.

Stages that do not round give equal bytes. Networks add numbers in another order when their batch
is of another size; what then differs, and by how much, is stated below.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from grand_pipeline import build, lock, publication, runner, settings
from grand_pipeline.annotations import publish_shard
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import annotate_shard
from tests.chaos.fakes import content, draw, fake_plan, ingested
from tests.fakes import annotate_all, local_ray

IMAGES = 6
SCENES, SEED, SHARD = 12, 8_600_000, 3

ROUNDING = 5e-6
"""Largest difference of a number between batches of 1 and of 8, relative where it is above 1."""
DEPTH_STEP = 2.0**-10
"""The same for depth maps, which are kept in float16 and are 1 at most: one of its steps."""


def batched(plan: Plan, size: int, workers: int = 8) -> Plan:
    """The plan with other batches and another number of workers."""

    def changed(stage: Any) -> Any:
        resources = replace(stage.resources, max_workers=workers)
        return replace(stage, batch_size=size, resources=resources)

    return make_plan([changed(step.stage) for step in plan.steps])


def drive(run: Run, plan: Plan, order: random.Random, threads: int = 1, limit: int = 10**9) -> None:
    """What the runner does, in a random order and at most `limit` tasks of it, in threads.

    No two threads load and use a stage at the same time, as no two tasks share an actor.
    """
    live: dict[tuple[str, int], Any] = {}

    def work(task: Task, place: int) -> None:
        if task.step == ANNOTATIONS:
            publish_shard(run, plan, task.shard, token)
            return
        step = plan.step(task.step)
        if (step.key, place) not in live:
            live[step.key, place] = step.stage.load("cpu")
        annotate_shard(run, step, live[step.key, place], task.shard, token)

    with lock.hold(run.root) as token, ThreadPoolExecutor(threads) as pool:
        publication.sweep(run.root)
        parents = {step.key: step.parents for step in plan.steps}
        parents[ANNOTATIONS] = tuple(parents)
        todo = Schedule(parents, run.shards(), runner.up_to_date(run, plan))
        flying: dict[Future[None], tuple[Task, int]] = {}
        while (limit and not todo.finished) or flying:
            free = sorted(set(range(threads)) - {place for _, place in flying.values()})
            for place in free:
                if limit and (task := _any(todo, order)):
                    flying[pool.submit(work, task, place)] = (task, place)
                    limit -= 1
            for done in wait(flying, return_when=FIRST_COMPLETED).done:
                done.result()
                todo.finish(flying.pop(done)[0])


def _any(todo: Schedule, order: random.Random) -> Task | None:
    ready = [step for step, shards in todo.ready.items() if shards]
    if not ready:
        return None
    step = order.choice(ready)
    todo.ready[step].rotate(order.randrange(len(todo.ready[step])))
    return todo.start(step)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with pictures, and the content of a run of them."""
    root = tmp_path_factory.mktemp("undisturbed")
    pictures = draw(root / "pictures", range(IMAGES))
    run = ingested(root / "run", [pictures])
    annotate_all(run, fake_plan())
    return pictures, content(run.root)


CHAOS = pytest.mark.chaos
ORDERS = [
    (0, 1, 1),
    (1, 4, 8),
    *(pytest.param(seed, 1 + 3 * (seed % 2), 1 + seed % 8, marks=CHAOS) for seed in range(2, 30)),
]


@pytest.mark.parametrize(("seed", "threads", "size"), ORDERS)
def test_any_order_batch_and_restart(
    undisturbed: tuple[Path, dict[str, str]], tmp_path: Path, seed: int, threads: int, size: int
) -> None:
    pictures, expected = undisturbed
    order = random.Random(seed)
    run = ingested(tmp_path / "run", [pictures])
    plan = batched(fake_plan(), size)
    drive(run, plan, order, threads, limit=order.randrange(1, 12))
    drive(run, plan, order, threads)
    assert content(run.root) == expected


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # Ray warns on its own
def test_one_and_four_workers(undisturbed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    pictures, _ = undisturbed
    runs = {workers: ingested(tmp_path / f"{workers}", [pictures]) for workers in (1, 4)}
    with local_ray(cpus=4):
        for workers, run in runs.items():
            # A little time each, so that all workers get something to do.
            plan = batched(fake_plan(seconds=0.1), 2 * workers, workers)
            with lock.hold(run.root) as token:
                runner.execute(run, plan, [], token, lambda outcome: None)
    assert content(runs[1].root) == content(runs[4].root)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A folder with scenes, and a run of the default preset, one stage after the other."""
    root = tmp_path_factory.mktemp("scenes")
    render_dataset(root / "world", SCENES, SEED)
    run = described(root / "run", root / "world" / "images")
    annotate_all(run, picturebook())
    return root / "world" / "images", run


def picturebook() -> Plan:
    return build.resolved_plan(settings.load_preset("picturebook"))


def described(root: Path, images: Path) -> Run:
    """A run of the default preset with these images."""
    run = Run.create(root, build.described(settings.load_preset("picturebook"), None))
    build.add_images(run, [str(images)], SHARD)
    return run


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_batches_of_one_round_otherwise_and_change_nothing_else(
    scenes: tuple[Path, Run], tmp_path: Path
) -> None:
    images, whole = scenes
    single, order = described(tmp_path / "run", images), random.Random(1)
    drive(single, batched(picturebook(), 1), order, limit=40)
    drive(single, batched(picturebook(), 1), order)
    worst: dict[str, float] = {}

    def note(where: str, distance: float) -> None:
        worst[where] = max(worst.get(where, 0.0), distance)

    for path in sorted(whole.root.rglob("*.parquet")):
        name = path.relative_to(whole.root)
        tables = (pq.read_table(run.root / name) for run in (whole, single))
        for ours, theirs in zip(*(table.to_pylist() for table in tables), strict=True):
            compare(ours, theirs, name.parent.name, note)
    print({where: distance for where, distance in sorted(worst.items()) if distance})
    depth = worst.pop("depth.depth_map.values")
    assert depth <= DEPTH_STEP
    assert len(worst) > 10 and max(worst.values()) <= ROUNDING


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # Ray warns on its own
def test_four_workers_after_a_restart_write_what_one_does(
    scenes: tuple[Path, Run], tmp_path: Path
) -> None:
    images, whole = scenes
    run = described(tmp_path / "run", images)
    drive(run, picturebook(), random.Random(2), limit=20)
    job = build.Job(run.root, settings.load_preset("picturebook"))
    silent = build.Watcher(lambda phase: None, lambda todo: None, lambda outcome: None)
    with local_ray(cpus=4):
        build.build(job, silent)
    assert content(run.root) == content(whole.root)


def compare(ours: Any, theirs: Any, where: str, note: Callable[[str, float], None]) -> None:
    """Note how far numbers are apart; everything else is equal, or the assertion says where."""
    if isinstance(ours, float) and isinstance(theirs, float):
        note(where, abs(ours - theirs) / max(1.0, abs(ours)))
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            compare(ours[key], theirs[key], f"{where}.{key}", note)
    elif isinstance(ours, list) and isinstance(theirs, list):
        assert len(ours) == len(theirs), f"{where}: {len(ours)} and {len(theirs)}"
        for one, other in zip(ours, theirs, strict=True):
            compare(one, other, where, note)
    elif where == "depth.depth_map.values":
        maps = (np.frombuffer(values, "<f2").astype(np.float64) for values in (ours, theirs))
        note(where, float(np.abs(np.subtract(*maps)).max()))
    else:
        assert ours == theirs, f"{where}: {ours!r} and {theirs!r}"
