"""Which (step, shard) can run now: pure bookkeeping, no Ray.

A task is ready when all its parents' fragments of the same shard are committed. Earlier steps go
first, so that on a small machine models take turns: all shards through one, then the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Task(NamedTuple):
    """One (step key, shard)."""

    step: str
    shard: str


class Schedule:
    """Progress over the DAG; every operation costs no more than a task's children."""

    def __init__(
        self, parents: Mapping[str, tuple[str, ...]], shards: Iterable[str], done: Iterable[Task]
    ) -> None:
        """`parents` maps each step to its parents, in plan order."""
        self._parents = parents
        self._done = set(done)
        self.ready: dict[str, deque[str]] = {step: deque() for step in parents}
        """Step -> shards that can start, steps in plan order."""
        self.unfinished = dict.fromkeys(parents, 0)
        """Step -> tasks not yet committed."""
        for shard in shards:
            for step in parents:
                if Task(step, shard) not in self._done:
                    self.unfinished[step] += 1
                    self._consider(step, shard)

    @property
    def finished(self) -> bool:
        """Whether every task is committed."""
        return not any(self.unfinished.values())

    def start(self, step: str) -> Task:
        """Take the next ready task of `step`."""
        return Task(step, self.ready[step].popleft())

    def retry(self, task: Task) -> None:
        """`task` did not finish; it is next in line again."""
        self.ready[task.step].appendleft(task.shard)

    def finish(self, task: Task) -> None:
        """`task` is committed; children of its shard may become ready."""
        self._done.add(task)
        self.unfinished[task.step] -= 1
        for step, parents in self._parents.items():
            # A child may be done before its parent, where the parent's fragment was lost.
            if task.step in parents and Task(step, task.shard) not in self._done:
                self._consider(step, task.shard)

    def _consider(self, step: str, shard: str) -> None:
        if all(Task(parent, shard) in self._done for parent in self._parents[step]):
            self.ready[step].append(shard)
