"""The live Ray actors: which stage each holds, what it is doing, and where there is room for more.

An actor holds one loaded stage. When a stage has nothing left to start, its actor takes over
another stage of the same resources, so models that do not fit together take turns and the heavy
imports are paid once per process. Actors are pinned to nodes by our own count of what is free: an
actor that Ray would leave pending for ever is never asked for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline import heap
from grand_pipeline.annotations import publish_shard
from grand_pipeline.compiling import compile_layers
from grand_pipeline.errors import GrandError, WorkerError
from grand_pipeline.plan import Plan, Step, holds
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.stage import Resources
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome, annotate_shard

_PUBLISHER = Resources(cpus=1)
_ATTEMPTS = 3
_NODES_SECONDS = 2.0


class StageActor:
    """Lives in a Ray worker: one stage loaded at a time."""

    def __init__(self, root: str, token: str) -> None:
        heap.keep()
        self._run = Run(Path(root))
        self._token = token
        self._key = ""
        self._model: Any = None

    def annotate(self, step: Step, shard: str) -> Outcome:
        """Annotate and commit one shard, loading the stage first if another was loaded."""
        if step.key != self._key:
            self._model, self._key = None, ""
            self._model = step.stage.load(pick_device(step.stage.device))
            if step.stage.compile:
                compile_layers(self._model)
            self._key = step.key
            heap.settle()
        return annotate_shard(self._run, step, self._model, shard, self._token)

    def publish(self, plan: Plan, shard: str) -> Outcome:
        """Join and commit the published rows of one shard."""
        return publish_shard(self._run, plan, shard, self._token)


@dataclass
class _Worker:
    handle: Any
    node: str
    resources: Resources
    step: str


class Pool:
    """Actors for one plan. Ray must be initialised."""

    def __init__(self, run: Run, plan: Plan, token: str) -> None:
        self._run, self._plan, self._token = run, plan, token
        self._workers: list[_Worker] = []
        self._flying: dict[Any, tuple[Task, _Worker]] = {}
        self._deaths: dict[Task, int] = {}
        self._nodes: dict[str, Resources] = {}
        self._nodes_seen = float("-inf")

    def dispatch(self, todo: Schedule) -> None:
        """Give ready tasks to idle actors, making and retiring actors as resources allow."""
        for step, shards in todo.ready.items():
            while shards and (worker := self._worker_for(step, todo)) is not None:
                task = todo.start(step)
                worker.step = step
                self._flying[self._submit(worker, task)] = (task, worker)

    def next(self) -> tuple[Task, Outcome | None]:
        """Wait for one task; None as outcome means its worker died and it is to be tried again.

        Raises WorkerError, or the GrandError that the stage raised while loading.
        """
        import ray

        if not self._flying:
            raise WorkerError("no node of the cluster has room for any stage that is left")
        (ref,), _ = ray.wait(list(self._flying), num_returns=1)
        task, worker = self._flying.pop(ref)
        try:
            outcome: Outcome = ray.get(ref)
        except ray.exceptions.RayActorError:
            self._workers.remove(worker)
            self._count_death(task)
            return task, None
        except ray.exceptions.RayTaskError as error:
            kind = type(error.cause) if isinstance(error.cause, GrandError) else WorkerError
            raise kind(f"stage '{task.step}', shard {task.shard}: {error.cause}") from error
        return task, outcome

    def close(self) -> None:
        """Stop all actors."""
        for worker in list(self._workers):
            self._retire(worker)

    def _count_death(self, task: Task) -> None:
        self._deaths[task] = self._deaths.get(task, 0) + 1
        if self._deaths[task] >= _ATTEMPTS:
            raise WorkerError(
                f"worker of stage '{task.step}' died {_ATTEMPTS} times on shard {task.shard}; "
                "see the Ray logs, then build again: committed shards are kept"
            )

    def _submit(self, worker: _Worker, task: Task) -> Any:
        if task.step == ANNOTATIONS:
            return worker.handle.publish.remote(self._plan, task.shard)
        return worker.handle.annotate.remote(self._plan.step(task.step), task.shard)

    def _worker_for(self, step: str, todo: Schedule) -> _Worker | None:
        busy = {id(worker) for _, worker in self._flying.values()}
        idle = [worker for worker in self._workers if id(worker) not in busy]
        for worker in idle:
            if worker.step == step:
                return worker
        resources = self._resources(step)
        if sum(worker.step == step for worker in self._workers) >= resources.max_workers:
            return None
        # An idle worker whose stage has nothing ready may be taken over, a finished one first.
        spare = [worker for worker in idle if not todo.ready[worker.step]]
        spare.sort(key=lambda worker: todo.unfinished[worker.step])
        for worker in spare:
            if worker.resources == resources:
                return worker
        return self._hire(step, resources, spare)

    def _hire(self, step: str, resources: Resources, spare: list[_Worker]) -> _Worker | None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = self._node_with_room(resources)
        while node is None and spare:
            self._retire(spare.pop(0))
            node = self._node_with_room(resources)
        if node is None:
            return None
        actor = ray.remote(StageActor).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=int(resources.memory_gb * 2**30),
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        handle = actor.remote(str(self._run.root.absolute()), self._token)
        worker = _Worker(handle, node, resources, step)
        self._workers.append(worker)
        return worker

    def _retire(self, worker: _Worker) -> None:
        import ray

        ray.kill(worker.handle)
        self._workers.remove(worker)

    def _resources(self, step: str) -> Resources:
        return _PUBLISHER if step == ANNOTATIONS else self._plan.step(step).stage.resources

    def _node_with_room(self, need: Resources) -> str | None:
        if time.monotonic() - self._nodes_seen > _NODES_SECONDS:
            self._nodes, self._nodes_seen = alive_nodes(), time.monotonic()
        for node, total in self._nodes.items():
            hired = [worker.resources for worker in self._workers if worker.node == node]
            free = Resources(
                total.cpus - sum(r.cpus for r in hired),
                total.gpus - sum(r.gpus for r in hired),
                total.memory_gb - sum(r.memory_gb for r in hired),
            )
            if holds(free, need):
                return node
        return None


def alive_nodes() -> dict[str, Resources]:
    """Node id -> what it has in all, for the nodes of the cluster that are alive."""
    import ray

    return {
        node["NodeID"]: Resources(
            node["Resources"].get("CPU", 0),
            node["Resources"].get("GPU", 0),
            node["Resources"].get("memory", 0) / 2**30,
        )
        for node in ray.nodes()
        if node["Alive"]
    }


def pick_device(wanted: str) -> str:
    """The device of this worker: "auto" is "cuda" where Ray gave it a GPU, else "cpu"."""
    import ray

    if wanted != "auto":
        return wanted
    return "cuda" if ray.get_gpu_ids() else "cpu"
