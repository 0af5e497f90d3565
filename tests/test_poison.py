"""Images that are fatal to the process which annotates them: found, and given up alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import publication
from grand_pipeline.errors import WorkerError
from grand_pipeline.lastwords import Words
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.poison import WHOLE, Ladder, Suspects
from grand_pipeline.schedule import Task
from grand_pipeline.stage import Limits
from grand_pipeline.store import ERROR
from tests.fakes import SMALL, Brightness, Caption, annotate_all, make_run
from tests.poisons import POOR, QUICK, Fatal, annotate_in_processes

CRASH = "WorkerDied: Segmentation fault"


def simulate(
    images: int, batch: int, die: Callable[[int, bool], Words | None]
) -> tuple[dict[int, str], int]:
    """Annotate a shard of so many images; `die` is asked about each batch that holds an image.

    Returns what was given up, and the number of deaths. Every other image was annotated.
    """
    suspects, done, deaths, given_up = Suspects(), set[int](), 0, dict[int, str]()
    while True:
        turn = suspects.turn
        given_up = dict(turn.given_up)
        asked = range(images) if turn.only is None else turn.only
        todo = [i for i in asked if i not in done and i not in given_up]
        words = None
        passed: list[int] = []
        for start in range(0, len(todo), batch):
            part = todo[start : start + batch]
            dead = [said for i in part if (said := die(i, len(todo) == 1)) is not None]
            if dead:
                words = replace(dead[0], images=tuple(todo[start : start + 2 * batch]))
                break
            passed += part
        if words is not None:
            deaths += 1
            suspects.died(words)
            continue
        done.update(passed)
        if len(done) + len(given_up) == images:
            return given_up, deaths
        suspects.survived()


@pytest.mark.parametrize(("batch", "most"), [(1, 3), (8, 4), (256, 5)])
def test_a_fatal_image_among_many_is_found_with_few_deaths(batch: int, most: int) -> None:
    given_up, deaths = simulate(
        256, batch, lambda i, _: Words(cause=CRASH, sure=True) if i == 77 else None
    )
    assert given_up == {77: CRASH}
    assert deaths <= most


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.sets(st.integers(0, n - 1), max_size=4),
            st.lists(st.integers(0, n - 1), max_size=6),
            st.sampled_from([1, 3, 8, 40]),
        )
    )
)
def test_exactly_the_fatal_images_are_given_up(
    case: tuple[int, set[int], list[int], int],
) -> None:
    """Whatever the batches are, and whatever else ends workers, as long as it does not keep on."""
    images, fatal, strays, batch = case
    left = list(strays)

    def die(image: int, alone: bool) -> Words | None:
        if image in fatal:
            return Words(cause=CRASH, sure=True)
        if image in left and not (alone and left.count(image) > 2):
            left.remove(image)
            return Words()
        return None

    # Three deaths alone, in silence, are taken for the image's doing.
    left = [i for i in left if left.count(i) <= 2]
    given_up, deaths = simulate(images, batch, die)
    assert given_up.keys() == fatal
    assert deaths <= 5 * len(fatal) + len(strays)


def test_one_death_from_outside_gives_up_nothing() -> None:
    suspects = Suspects()
    assert suspects.died(Words((0, 1, 2))) is None
    for image in range(3):
        assert suspects.turn.only == (image,)
        suspects.survived()
    assert suspects.turn == WHOLE


def test_silence_needs_one_death_more() -> None:
    suspects = Suspects()
    assert [suspects.died(Words((4,))) for _ in range(3)] == [None] * 3
    reason = suspects.died(Words((4,)))
    assert reason is not None and "3 times alone with this image" in reason
    assert suspects.turn.given_up == {4: reason} and suspects.turn.only is None


def test_what_was_not_suspected_goes_on_together() -> None:
    suspects = Suspects()
    suspects.died(Words(tuple(range(64))))
    assert suspects.turn.only == tuple(range(8))
    suspects.died(Words((2, 3)))
    groups = []
    for _ in range(3):
        groups.append(suspects.turn.only)
        suspects.survived()
    assert groups == [(2,), (3,), (0, 1, 4, 5, 6, 7)]
    assert suspects.turn.only == tuple(range(8, 16))


def test_deaths_without_an_image_in_work_stop_the_run() -> None:
    ladder, task = Ladder(), Task("depth", "00007")
    ladder.died(task, Words(), "x")
    ladder.died(task, Words(), "x")
    with pytest.raises(WorkerError, match=r"'depth' died 3 times on shard 00007.*the node is gone"):
        ladder.died(task, Words(), "the node is gone")


@pytest.mark.parametrize("fruitful", [False, True])
def test_a_stage_that_dies_of_every_image_stops_the_run(fruitful: bool) -> None:
    ladder, task = Ladder(), Task("depth", "00000")
    ladder.survived(Task("depth", "00001"), pending=0, fruitful=fruitful)

    def kill_all() -> None:
        """Six images, one after the other."""
        for image in range(6):
            for _ in range(3):
                ladder.died(task, Words((image,), CRASH, sure=True), "")

    if fruitful:
        kill_all()
        ladder = Ladder(["depth"])
        kill_all()
        assert ladder.turn(task).given_up.keys() == set(range(6))
    else:
        with pytest.raises(WorkerError, match="each of the first 5 images"):
            kill_all()


def plan_of(*bad: tuple[str, str], batch: int = 4, limits: Limits = POOR, **more: Any) -> Plan:
    small: dict[str, Any] = {"device": "cpu", "resources": SMALL, "limits": limits}
    return make_plan([Fatal(bad=bad, batch_size=batch, **small, **more), Caption(**small)])


def test_every_kind_of_bad_image_fails_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=12, shard_size=12)
    kinds = {1: "segv", 2: "raise", 6: "memory", 9: "exit"}
    deaths = annotate_in_processes(run, plan_of(*((f"{i:04d}.png", k) for i, k in kinds.items())))
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert {i: error for i, error in enumerate(errors) if error} == {
        1: "WorkerDied: Segmentation fault",
        2: "ValueError: a bad image",
        6: "OutOfMemory: see limits.memory_gb",
        9: "WorkerDied: the worker's process ended without a word, 3 times alone with this image: "
        "by os._exit, or by SIGKILL, which a system sends that is short of memory",
    }
    found = run.read("brightness.fake", "00000", ["tags.fake"])["tags.fake"]
    assert [tag is None for tag in found] == [i in kinds for i in range(12)]
    assert deaths == {"brightness.fake": 3 + 4}
    assert [len(row.errors) for row in run.annotations()] == [int(i in kinds) for i in range(12)]
    assert not list(run.root.rglob(".tmp-*"))


def test_an_image_that_never_comes_back_fails_alone(tmp_path: Path) -> None:
    """In a library that lets no thread of Python run meanwhile."""
    run = make_run(tmp_path, images=3)
    deaths = annotate_in_processes(run, plan_of(("0001.png", "hold"), batch=1, limits=QUICK))
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert errors == [None, "TimedOut: no result after 1 s (see limits.image_seconds)", None]
    assert deaths == {"brightness.fake": 3}


@pytest.mark.parametrize("whole", [False, True])
def test_a_shard_that_was_taken_apart_is_as_if_it_had_not_been(tmp_path: Path, whole: bool) -> None:
    """The image kills once, as a stray signal would, so that nothing is given up."""
    run = make_run(tmp_path, images=12, shard_size=12)
    (tmp_path / "once").mkdir()
    plan = plan_of(("0005.png", "kill"), whole=whole, once=str(tmp_path / "once"))
    assert annotate_in_processes(run, plan)["brightness.fake"] == 1
    plain = make_run(tmp_path / "plain", images=12, shard_size=12)
    annotate_all(plain, make_plan([Brightness(), Caption()]))
    contents = [
        (publication.metadata(each.fragment("brightness.fake", "00000")) or {})["content"]
        for each in (run, plain)
    ]
    assert contents[0] == contents[1]
    assert [row.errors for row in run.annotations()] == [()] * 12


def test_an_image_that_kills_while_it_is_decoded_ahead_is_found(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=0)
    rows = list(make_run(tmp_path / "source", images=9, shard_size=9).images())
    rows[5] = replace(rows[5], uri=f"poison://segv{rows[5].uri}")
    run.add_shard(rows)
    annotate_in_processes(run, plan_of(batch=2))
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert [i for i, error in enumerate(errors) if error] == [5]
    assert errors[5] == "WorkerDied: Segmentation fault"
