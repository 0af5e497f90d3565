"""Every input stands under one heading, whatever a run has come to and wherever it was killed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grand_pipeline import build, lock
from grand_pipeline.accounts import account
from grand_pipeline.annotations import publish_shard
from grand_pipeline.columns import ImageRow
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.store import Run
from grand_pipeline.worker import annotate_shard
from tests.fakes import Brightness, Caption, annotate_all, image_row, make_run

IMAGES, SHARD = 6, 2
HEADINGS = ("annotated", "failed", "duplicate", "unreadable", "pending")


def plan(poison: tuple[str, ...] = (), word: str = "mean") -> Plan:
    return make_plan([Brightness(poison=poison), Caption(word=word)])


def counts(run: Run, steps: Plan) -> dict[str, int]:
    failures = build.failed_images(run, steps)
    return account(run, {i for failed in failures.values() for i in failed}, steps.fingerprint)


def mixed_run(root: Path) -> Run:
    """Six images of which one is listed twice, and a file that is none."""
    run = make_run(root, images=IMAGES, shard_size=SHARD)
    run.add_duplicates([(next(run.images()).image_id, "/copy.png")])
    run.add_shard([ImageRow("e" * 32, "/notes.txt", (), None, None, None, "no image", None)])
    return run


def annotate_some(run: Run, steps: Plan, amounts: list[int]) -> None:
    """The first tasks of each shard, as a driver leaves them that is killed at that moment."""
    with lock.hold(run.root) as token:
        for shard, amount in zip(run.shards(), amounts, strict=True):
            for step in steps.steps[:amount]:
                if run.state(step.key, shard, step.fingerprint) != "done":
                    annotate_shard(run, step, step.stage.load("cpu"), shard, token)
            if amount > len(steps.steps):
                publish_shard(run, steps, shard, token)


progress = st.lists(st.integers(0, 3), min_size=4, max_size=4)
poisons = st.sets(st.sampled_from([f"{i:04d}.png" for i in range(IMAGES)])).map(
    lambda names: tuple(sorted(names))
)
builds = st.lists(st.tuples(progress, poisons, st.sampled_from(["mean", "avg"])), max_size=3)


@settings(max_examples=12)
@given(builds=builds, grown=st.booleans())
def test_the_sum_is_what_was_found(
    builds: list[tuple[list[int], tuple[str, ...], str]], grown: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = mixed_run(Path(folder))
        steps = plan()
        for amounts, poison, word in builds:
            steps = plan(poison, word)
            annotate_some(run, steps, amounts)
            report = counts(run, steps)
            assert report["found"] == IMAGES + 2 == sum(report[name] for name in HEADINGS)
            assert (report["duplicate"], report["unreadable"]) == (1, 1)
        if grown:
            run.add_shard([image_row(Path(folder), 99)])
            report = counts(run, steps)
            assert report["found"] == IMAGES + 3 == sum(report[name] for name in HEADINGS)
        annotate_all(run, steps)
        report = counts(run, steps)
        poisoned = len(builds[-1][1]) if builds else 0
        assert report == {
            "found": IMAGES + 2 + grown,
            "annotated": IMAGES + grown - poisoned,
            "failed": poisoned,
            "duplicate": 1,
            "unreadable": 1,
            "pending": 0,
        }


def test_a_failure_that_is_not_published_yet_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=4, shard_size=2)
    annotate_some(run, plan(("0001.png",)), [1, 0])
    report = counts(run, plan(("0001.png",)))
    assert (report["failed"], report["pending"], report["annotated"]) == (1, 3, 0)


@pytest.mark.parametrize("fixed", [0, 3])
def test_a_failure_under_older_options_is_pending_until_its_new_row_is_there(
    tmp_path: Path, fixed: int
) -> None:
    run = make_run(tmp_path, images=2, shard_size=2)
    annotate_some(run, plan(("0001.png",)), [3])
    annotate_some(run, plan(), [fixed])
    report = counts(run, plan())
    assert (report["annotated"], report["pending"], report["failed"]) == (
        (2, 0, 0) if fixed else (1, 1, 0)
    )
