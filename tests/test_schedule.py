from __future__ import annotations

from grand_pipeline.schedule import Task, schedule

PARENTS: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a", "b")}


def test_children_wait_for_their_own_shard_only() -> None:
    todo = schedule(PARENTS, ["0", "1"], [])
    assert todo.ready() == [Task("a", "0"), Task("a", "1")]
    todo.start(Task("a", "1"))
    todo.finish(Task("a", "1"))
    assert todo.ready() == [Task("a", "0"), Task("b", "1")]
    assert todo.wanted("a")


def test_done_tasks_are_not_repeated() -> None:
    todo = schedule(PARENTS, ["0"], [Task("a", "0"), Task("b", "0")])
    assert todo.ready() == [Task("c", "0")]
    assert not todo.wanted("a")
