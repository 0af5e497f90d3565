from __future__ import annotations

from grand_pipeline.schedule import Schedule, Task

PARENTS: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a", "b")}


def ready(todo: Schedule) -> list[Task]:
    return [Task(step, shard) for step, shards in todo.ready.items() for shard in shards]


def test_children_wait_for_their_own_shard_only() -> None:
    todo = Schedule(PARENTS, ["0", "1"], [])
    assert ready(todo) == [Task("a", "0"), Task("a", "1")]
    todo.finish(todo.start("a"))
    assert ready(todo) == [Task("a", "1"), Task("b", "0")]
    assert todo.unfinished == {"a": 1, "b": 2, "c": 2}


def test_done_tasks_are_not_repeated() -> None:
    todo = Schedule(PARENTS, ["0"], [Task("a", "0"), Task("b", "0")])
    assert ready(todo) == [Task("c", "0")]
    todo.finish(todo.start("c"))
    assert todo.finished


def test_a_lost_parent_is_made_again_and_what_was_made_from_it_stays_done() -> None:
    todo = Schedule(PARENTS, ["0"], [Task("b", "0"), Task("c", "0")])
    todo.finish(todo.start("a"))
    assert ready(todo) == []
    assert todo.finished


def test_a_task_whose_worker_died_is_next_again() -> None:
    todo = Schedule(PARENTS, ["0", "1"], [])
    task = todo.start("a")
    todo.retry(task)
    assert todo.start("a") == task
    assert not todo.finished


def test_every_task_runs_once_in_an_order_that_respects_the_parents() -> None:
    todo = Schedule(PARENTS, ["0", "1", "2"], [Task("a", "1")])
    seen = {Task("a", "1")}
    while not todo.finished:
        step = next(step for step, shards in reversed(todo.ready.items()) if shards)
        task = todo.start(step)
        assert task not in seen
        assert all(Task(parent, task.shard) in seen for parent in PARENTS[step])
        seen.add(task)
        todo.finish(task)
    assert len(seen) == 9
