"""Ray runs the plan: Ray Core actors, one task per (step, shard), one in flight per actor.

The driver sees names and counts, never image data. Every task ends in a committed fragment, so
whatever stops a run, the next one takes up what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from grand_pipeline.errors import ClusterError
from grand_pipeline.plan import Plan
from grand_pipeline.pool import PATIENCE, Pool
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.storage import each
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome

Report = Callable[[Outcome], None]


class Workers(Protocol):
    """Who does the tasks: see `Pool`."""

    def dispatch(self, todo: Schedule) -> None: ...
    def next(self) -> tuple[Task, Outcome | None] | None: ...


def execute(
    run: Run,
    plan: Plan,
    done: Iterable[Task],
    token: str,
    report: Report,
    say: Callable[[str], None] = lambda text: None,
    patience: float = PATIENCE,
) -> None:
    """Bring every fragment of `plan` and the published rows up to date.

    `done` are the tasks that need no work (see `up_to_date`). Ray must be initialised. Where nodes
    are lost, others go on; when none is left that has room, that is said and waited for, `patience`
    seconds at most. Raises WorkerError then, and when a stage can not be loaded or a worker keeps
    dying; ClusterError when the cluster itself has gone. What was committed until then stays.
    """
    parents = {step.key: step.parents for step in plan.steps}
    parents[ANNOTATIONS] = tuple(parents)
    pool = Pool(run, plan, token, say, patience)
    try:
        drive(pool, Schedule(parents, run.shards(), done), report)
    except ClusterError:
        raise  # There is nobody left who could stop the actors.
    except BaseException:
        pool.close()
        raise
    pool.close()


def drive(pool: Workers, todo: Schedule, report: Report) -> None:
    """Have everything done. What is kept grows with the number of shards, not with the images."""
    while not todo.finished:
        pool.dispatch(todo)
        back = pool.next()
        if back is None:
            continue
        task, outcome = back
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

    def done(fragment: tuple[str, str, str]) -> bool:
        return run.state(*fragment) == "done" or run.restore(*fragment)

    fragments = [(key, shard, fingerprint) for key, fingerprint in wanted for shard in shards]
    found = zip(fragments, each(run.root, done, fragments), strict=True)
    return [Task(key, shard) for (key, shard, _), is_done in found if is_done]
