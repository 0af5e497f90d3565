"""The live Ray actors: which stage each holds, what it is doing, and where there is room for more.

An actor holds one loaded stage. When a stage has nothing left to start, its actor takes over
another stage of the same resources, so models that do not fit together take turns and the heavy
imports are paid once per process. Actors are pinned to nodes by our own count of what is free: an
actor that Ray would leave pending for ever is never asked for.

A worker that went with its node, or that can not be reached, is nobody's fault: its task is done by
another. It may still be at work where the network was cut; what it commits later is what the other
one has committed.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from grand_pipeline import fragments, lastwords
from grand_pipeline.actor import StageActor
from grand_pipeline.cluster import alive_nodes, answered
from grand_pipeline.errors import ClusterError, GrandError, WorkerError
from grand_pipeline.lastwords import Words
from grand_pipeline.plan import Plan, holds
from grand_pipeline.poison import Ladder
from grand_pipeline.publication import TEMPORARY
from grand_pipeline.schedule import Schedule, Task
from grand_pipeline.stage import Resources
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome

_PUBLISHER = Resources(cpus=1)
_NODES_SECONDS = 2.0
_LOOK_SECONDS = 5.0
"""How long a task is waited for before the nodes are looked at: some may be new."""
PATIENCE = 600.0
"""Seconds that nodes are waited for when there is no room for anything that is left."""
_DOUBT_SECONDS = 20.0
"""How long another node gets no new workers after one could not be reached: Ray takes so long to
tell whether the node is gone, and has whoever is sent there wait until then."""
_LOST = 5
"""How often a task may be lost with its node before that is held against it: what is at fault may
be an image that takes the whole node with it."""
_WORDS_SECONDS = 30.0
"""How long another node is asked what a dead worker has left there."""
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

    def __init__(
        self, run: Run, plan: Plan, token: str, say: Callable[[str], None], patience: float
    ) -> None:
        """`say` is told what is waited for, at most `patience` seconds."""
        import ray

        self._run, self._plan, self._token = run, plan, token
        self._say, self._patience = say, patience
        self._home: str = ray.get_runtime_context().get_node_id()
        self._workers: list[_Worker] = []
        self._flying: dict[Any, tuple[Task, _Worker]] = {}
        self._ladder = Ladder(step.key for step in plan.steps if fragments.begun(run, step))
        self._nodes: dict[str, Resources] = {}
        self._nodes_seen = float("-inf")
        self._stuck_since: float | None = None
        self._lost: Counter[Task] = Counter()
        self._doubted: dict[str, float] = {}

    def dispatch(self, todo: Schedule) -> None:
        """Give ready tasks to idle actors, making and retiring actors as resources allow."""
        for step, shards in todo.ready.items():
            while shards and (worker := self._worker_for(step, todo)) is not None:
                task = todo.start(step)
                worker.step = step
                self._flying[self._submit(worker, task)] = (task, worker)

    def next(self) -> tuple[Task, Outcome | None] | None:
        """Wait a while for one task; None as outcome means that there is more to do for it.

        None when none has come back: nodes may have come or gone. Raises WorkerError, ClusterError
        when the head or this node has gone, or the GrandError that the stage raised while loading.
        """
        import ray

        if not self._flying:
            self._wait_for_room()
            return None
        self._stuck_since = None
        ready, _ = ray.wait(list(self._flying), num_returns=1, timeout=_LOOK_SECONDS)
        if not ready:
            self._look()
            return None
        (ref,) = ready
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

        words = self._last_words(worker)
        if not words.cause and isinstance(error, ray.exceptions.OutOfMemoryError):
            words = replace(words, cause=_EVICTED)
        self._look()
        self._retire(worker)
        unreachable = isinstance(error, ray.exceptions.ActorUnavailableError)
        if not words.cause and (unreachable or worker.node not in self._nodes):
            if worker.node != self._home:
                self._doubted[worker.node] = time.monotonic()
            self._lost[task] += 1
            if self._lost[task] <= _LOST:
                return
        self._ladder.died(task, words, str(error).partition("\n")[0])

    def _last_words(self, worker: _Worker) -> Words:
        """What a dead worker has left: beside the run, or for one in a bucket, on its own node."""
        if isinstance(self._run.root, Path) or worker.node == self._home:
            return lastwords.read(worker.words)
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(worker.node, soft=False)
        read = ray.remote(lastwords.read)
        asked = read.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        try:
            ref = answered(partial(asked.remote, worker.words))
            found: Words = ray.get(ref, timeout=_WORDS_SECONDS)
        except ray.exceptions.RayError:  # The node has gone, and what lay there with it.
            return Words()
        return found

    def _look(self) -> None:
        """See which nodes there are. Raises ClusterError when this one is not among them."""
        self._nodes, self._nodes_seen = alive_nodes(), time.monotonic()
        if self._home not in self._nodes:
            raise ClusterError(
                "the node that this build was started on is no part of the Ray cluster any more: "
                "its raylet has ended, or the way to the head was cut for too long. What was "
                "committed is kept: build again when Ray runs here"
            )

    def _wait_for_room(self) -> None:
        """Raises WorkerError when there has been none for too long."""
        if self._stuck_since is None:
            self._stuck_since = time.monotonic()
            self._say(f"waiting for nodes: {self._lack()}")
        elif time.monotonic() - self._stuck_since > self._patience:
            raise WorkerError(
                f"{self._lack()} for {self._patience:.0f} s; add nodes and build again: what was "
                "committed is kept"
            )
        time.sleep(min(_NODES_SECONDS, self._patience))

    def _lack(self) -> str:
        return f"none of {len(self._nodes)} has room for any stage that is left"

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
        # It is written by a process that dies: to a file, and none of a bucket.
        folder = root if isinstance(root, Path) else Path(tempfile.gettempdir())
        words = folder / f"{TEMPORARY}worker-{uuid.uuid4().hex}"
        handle = answered(partial(actor.remote, str(root), self._token, str(words)))
        worker = _Worker(handle, node, resources, step, words)
        self._workers.append(worker)
        return worker

    def _retire(self, worker: _Worker) -> None:
        import ray

        # Ray sends a kill once. Were it lost, the worker would keep its place for ever.
        worker.handle.__ray_terminate__.remote()
        answered(partial(ray.kill, worker.handle))
        worker.words.unlink(missing_ok=True)
        self._workers.remove(worker)

    def _resources(self, step: str) -> Resources:
        return _PUBLISHER if step == ANNOTATIONS else self._plan.step(step).stage.resources

    def _node_with_room(self, need: Resources) -> str | None:
        if time.monotonic() - self._nodes_seen > _NODES_SECONDS:
            self._look()
        for node, total in self._nodes.items():
            if time.monotonic() - self._doubted.get(node, float("-inf")) < _DOUBT_SECONDS:
                continue
            hired = [worker.resources for worker in self._workers if worker.node == node]
            free = Resources(
                total.cpus - sum(r.cpus for r in hired),
                total.gpus - sum(r.gpus for r in hired),
                total.memory_gb - sum(r.memory_gb for r in hired),
            )
            if holds(free, need):
                return node
        return None
