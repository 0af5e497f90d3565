"""Ray runs the plan: Ray Core actors, one task per (step, shard), one in flight per actor.

An actor holds one loaded stage. When a stage has nothing left to start, its actor takes over
another stage of the same resources, so models that do not fit together take turns and the heavy
imports are paid once per process. The driver sees names and counts, never image data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline.annotations import publish_shard
from grand_pipeline.errors import GrandError, WorkerError
from grand_pipeline.plan import Plan, Step
from grand_pipeline.schedule import Schedule, Task, schedule
from grand_pipeline.stage import Resources
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome, annotate_shard

Report = Callable[[Outcome], None]

_PUBLISHER = Resources(cpus=1)
_ATTEMPTS = 3


class StageActor:
    """Lives in a Ray worker: one stage loaded at a time."""

    def __init__(self, root: str, token: str) -> None:
        self._run = Run(Path(root))
        self._token = token
        self._key = ""
        self._model: Any = None

    def annotate(self, step: Step, shard: str) -> Outcome:
        """Annotate and commit one shard, loading the stage first if another was loaded."""
        if step.key != self._key:
            self._model = None
            self._model = step.stage.load(pick_device(step.stage.device))
            self._key = step.key
        return annotate_shard(self._run, step, self._model, shard, self._token)

    def publish(self, plan: Plan, shard: str) -> Outcome:
        """Join and commit the published rows of one shard."""
        return publish_shard(self._run, plan, shard, self._token)


@dataclass
class _Worker:
    handle: Any
    resources: Resources
    step: str


def execute(run: Run, plan: Plan, token: str, report: Report) -> None:
    """Bring every fragment of `plan` and the published rows up to date.

    Ray must be initialised. Raises WorkerError when a stage can not be loaded or a worker keeps
    dying; what was committed until then stays.
    """
    parents = {step.key: step.parents for step in plan.steps}
    parents[ANNOTATIONS] = tuple(parents)
    pool = _Pool(run, plan, token)
    todo = schedule(parents, run.shards(), up_to_date(run, plan))
    try:
        while todo.waiting or pool.flying:
            pool.dispatch(todo)
            task, outcome = pool.next()
            if outcome is None:
                todo.waiting.insert(0, task)
            else:
                todo.finish(task)
                report(outcome)
    finally:
        pool.close()


def up_to_date(run: Run, plan: Plan) -> list[Task]:
    """Committed tasks of `plan`; shelved fragments with the right fingerprint are taken back."""
    wanted = [(step.key, step.fingerprint) for step in plan.steps]
    wanted.append((ANNOTATIONS, plan.fingerprint))
    return [
        Task(key, shard)
        for key, fingerprint in wanted
        for shard in run.shards()
        if run.state(key, shard, fingerprint) == "done" or run.restore(key, shard, fingerprint)
    ]


def pick_device(wanted: str) -> str:
    """The device of this worker: "auto" is "cuda" where Ray gave it a GPU, else "cpu"."""
    import ray

    if wanted != "auto":
        return wanted
    return "cuda" if ray.get_gpu_ids() else "cpu"


class _Pool:
    """The live actors and what they are doing."""

    def __init__(self, run: Run, plan: Plan, token: str) -> None:
        self._run, self._plan, self._token = run, plan, token
        self._workers: list[_Worker] = []
        self.flying: dict[Any, tuple[Task, _Worker]] = {}
        self._deaths: dict[Task, int] = {}

    def dispatch(self, todo: Schedule) -> None:
        """Give ready tasks to idle actors, making and retiring actors as resources allow."""
        for task in todo.ready():
            worker = self._worker_for(task, todo)
            if worker is not None:
                todo.start(task)
                self.flying[self._submit(worker, task)] = (task, worker)

    def next(self) -> tuple[Task, Outcome | None]:
        """Wait for one task; None as outcome means its worker died and it is to be tried again."""
        import ray

        (ref,), _ = ray.wait(list(self.flying), num_returns=1)
        task, worker = self.flying.pop(ref)
        try:
            outcome: Outcome = ray.get(ref)
        except ray.exceptions.RayActorError:
            self._workers.remove(worker)
            self._deaths[task] = self._deaths.get(task, 0) + 1
            if self._deaths[task] >= _ATTEMPTS:
                raise WorkerError(
                    f"worker of stage '{task.step}' died {_ATTEMPTS} times on shard {task.shard}; "
                    "see the Ray logs, then build again: committed shards are kept"
                ) from None
            return task, None
        except ray.exceptions.RayTaskError as error:
            kind = type(error.cause) if isinstance(error.cause, GrandError) else WorkerError
            raise kind(f"stage '{task.step}', shard {task.shard}: {error.cause}") from error
        return task, outcome

    def close(self) -> None:
        """Stop all actors."""
        for worker in list(self._workers):
            self._retire(worker)

    def _submit(self, worker: _Worker, task: Task) -> Any:
        worker.step = task.step
        if task.step == ANNOTATIONS:
            return worker.handle.publish.remote(self._plan, task.shard)
        return worker.handle.annotate.remote(self._plan.step(task.step), task.shard)

    def _worker_for(self, task: Task, todo: Schedule) -> _Worker | None:
        resources = self._resources(task.step)
        idle = self._idle()
        for worker in idle:
            if worker.step == task.step:
                return worker
        if sum(w.step == task.step for w in self._workers) >= resources.max_workers:
            return None
        spare = [worker for worker in idle if not todo.wanted(worker.step)]
        for worker in spare:
            if worker.resources == resources:
                return worker
        while not self._room(resources):
            if not spare:
                return None
            self._retire(spare.pop())
        return self._hire(resources, task.step)

    def _resources(self, step: str) -> Resources:
        return _PUBLISHER if step == ANNOTATIONS else self._plan.step(step).stage.resources

    def _idle(self) -> list[_Worker]:
        busy = {id(worker) for _, worker in self.flying.values()}
        return [worker for worker in self._workers if id(worker) not in busy]

    def _room(self, need: Resources) -> bool:
        import ray

        total = ray.cluster_resources()
        hired = [worker.resources for worker in self._workers]
        return bool(
            sum(r.cpus for r in hired) + need.cpus <= total.get("CPU", 0)
            and sum(r.gpus for r in hired) + need.gpus <= total.get("GPU", 0)
            and sum(r.memory_gb for r in hired) + need.memory_gb <= total.get("memory", 0) / 2**30
        )

    def _hire(self, resources: Resources, step: str) -> _Worker:
        import ray

        actor = ray.remote(StageActor).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=int(resources.memory_gb * 2**30),
            max_restarts=0,
        )
        worker = _Worker(actor.remote(str(self._run.root), self._token), resources, step)
        self._workers.append(worker)
        return worker

    def _retire(self, worker: _Worker) -> None:
        import ray

        ray.kill(worker.handle)
        self._workers.remove(worker)
