"""Which (step, shard) can run now: pure bookkeeping, no Ray.

A task is ready when all its parents' fragments of the same shard are committed. Earlier steps go
first, so that on a small machine models take turns: all shards through one, then the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """One (step key, shard)."""

    step: str
    shard: str


@dataclass
class Schedule:
    """Progress over the DAG. `parents` maps each step to its parents, in plan order."""

    parents: Mapping[str, tuple[str, ...]]
    waiting: list[Task]
    done: set[Task] = field(default_factory=set)

    def ready(self) -> list[Task]:
        """Tasks whose parents are done, in plan order."""
        return [
            task
            for task in self.waiting
            if all(Task(parent, task.shard) in self.done for parent in self.parents[task.step])
        ]

    def start(self, task: Task) -> None:
        """`task` is in flight."""
        self.waiting.remove(task)

    def finish(self, task: Task) -> None:
        """`task` is committed."""
        self.done.add(task)

    def wanted(self, step: str) -> bool:
        """Whether any task of `step` has yet to start."""
        return any(task.step == step for task in self.waiting)


def schedule(
    parents: Mapping[str, tuple[str, ...]], shards: Iterable[str], done: Iterable[Task]
) -> Schedule:
    """All tasks of the plan over `shards`, less those already done."""
    finished = set(done)
    names = list(shards)
    waiting = [
        task for step in parents for shard in names if (task := Task(step, shard)) not in finished
    ]
    return Schedule(parents, waiting, finished)
