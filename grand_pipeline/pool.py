"""The live Ray actors: which stage each holds, what it is doing, and where there is room for more.

An actor holds one loaded stage. When a stage has nothing left to start, its actor takes over
another stage of the same resources, so models that do not fit together take turns and the heavy
imports are paid once per process. Actors are pinned to nodes by our own count of what is free: an
actor that Ray would leave pending for ever is never asked for.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grand_pipeline import fragments, lastwords
from grand_pipeline.actor import StageActor
from grand_pipeline.cluster import alive_nodes
from grand_pipeline.errors import GrandError, WorkerError
from grand_pipeline.plan import Plan, holds
from grand_pipeline.poison import Ladder
from grand_pipeline.publication import TEMPORARY
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.stage import Resources
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome

_PUBLISHER = Resources(cpus=1)
_NODES_SECONDS = 2.0
_EVICTED = "OutOfMemory: Ray ended the worker, because its node was short of memory"


@dataclass
class _Worker:
    handle: Any
    node: str
    resources: Resources
    step: str
    words: Path
    """What it leaves behind when it dies."""


class Pool:
    """Actors for one plan. Ray must be initialised."""

    def __init__(self, run: Run, plan: Plan, token: str) -> None:
        self._run, self._plan, self._token = run, plan, token
        self._workers: list[_Worker] = []
        self._flying: dict[Any, tuple[Task, _Worker]] = {}
        self._ladder = Ladder(step.key for step in plan.steps if fragments.begun(run, step))
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
        """Wait for one task; None as outcome means that there is more to do for it.

        Raises WorkerError, or the GrandError that the stage raised while loading.
        """
        import ray

        if not self._flying:
            raise WorkerError("no node of the cluster has room for any stage that is left")
        (ref,), _ = ray.wait(list(self._flying), num_returns=1)
        task, worker = self._flying.pop(ref)
        try:
            outcome: Outcome = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            kind = type(error.cause) if isinstance(error.cause, GrandError) else WorkerError
            raise kind(f"stage '{task.step}', shard {task.shard}: {error.cause}") from error
        except ray.exceptions.RayError as error:  # Its process, its node or the way to it is gone.
            self._died(task, worker, error)
            return task, None
        return task, self._returned(task, worker, outcome)

    def _returned(self, task: Task, worker: _Worker, outcome: Outcome) -> Outcome | None:
        if outcome.worn:
            self._retire(worker)
        fruitful = outcome.rows > outcome.failed + outcome.skipped + outcome.pending
        done = self._ladder.survived(task, pending=outcome.pending, fruitful=fruitful)
        return outcome if done else None

    def _died(self, task: Task, worker: _Worker, error: Exception) -> None:
        """Make room for another worker. Raises WorkerError when that would be of no use."""
        import ray

        words = lastwords.read(worker.words)
        if not words.cause and isinstance(error, ray.exceptions.OutOfMemoryError):
            words = replace(words, cause=_EVICTED)
        self._retire(worker)
        self._nodes_seen = float("-inf")
        self._ladder.died(task, words, str(error).partition("\n")[0])

    def close(self) -> None:
        """Stop all actors."""
        for worker in list(self._workers):
            self._retire(worker)

    def _submit(self, worker: _Worker, task: Task) -> Any:
        if task.step == ANNOTATIONS:
            return worker.handle.publish.remote(self._plan, task.shard)
        turn = self._ladder.turn(task)
        return worker.handle.annotate.remote(self._plan.step(task.step), task.shard, turn)

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
        root = self._run.root.absolute()
        words = root / f"{TEMPORARY}worker-{uuid.uuid4().hex}"
        handle = actor.remote(str(root), self._token, str(words))
        worker = _Worker(handle, node, resources, step, words)
        self._workers.append(worker)
        return worker

    def _retire(self, worker: _Worker) -> None:
        import ray

        ray.kill(worker.handle)
        worker.words.unlink(missing_ok=True)
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
