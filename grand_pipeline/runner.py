"""Ray runs the plan: Ray Core actors, one task per (step, shard), one in flight per actor.

The driver sees names and counts, never image data. Every task ends in a committed fragment, so
whatever stops a run, the next one takes up what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from grand_pipeline.plan import Plan
from grand_pipeline.pool import Pool
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome

Report = Callable[[Outcome], None]


class Workers(Protocol):
    """Who does the tasks: see `Pool`."""

    def dispatch(self, todo: Schedule) -> None: ...
    def next(self) -> tuple[Task, Outcome | None]: ...


def execute(run: Run, plan: Plan, done: Iterable[Task], token: str, report: Report) -> None:
    """Bring every fragment of `plan` and the published rows up to date.

    `done` are the tasks that need no work (see `up_to_date`). Ray must be initialised. Raises
    WorkerError when a stage can not be loaded or a worker keeps dying; what was committed until
    then stays.
    """
    parents = {step.key: step.parents for step in plan.steps}
    parents[ANNOTATIONS] = tuple(parents)
    pool = Pool(run, plan, token)
    try:
        drive(pool, Schedule(parents, run.shards(), done), report)
    finally:
        pool.close()


def drive(pool: Workers, todo: Schedule, report: Report) -> None:
    """Have everything done. What is kept grows with the number of shards, not with the images."""
    while not todo.finished:
        pool.dispatch(todo)
        task, outcome = pool.next()
        if outcome is None:
            todo.retry(task)
        else:
            todo.finish(task)
            report(outcome)


def up_to_date(run: Run, plan: Plan) -> list[Task]:
    """Committed tasks of `plan`; shelved fragments with the right fingerprint are taken back."""
    wanted = [(step.key, step.fingerprint) for step in plan.steps]
    wanted.append((ANNOTATIONS, plan.fingerprint))
    shards = run.shards()
    return [
        Task(key, shard)
        for key, fingerprint in wanted
        for shard in shards
        if run.state(key, shard, fingerprint) == "done" or run.restore(key, shard, fingerprint)
    ]
