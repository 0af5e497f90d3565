"""Every input stands under one heading, whatever a run has come to and wherever it was killed."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from grand_pipeline import accounts, build, lock
from grand_pipeline.accounts import HEADINGS, account
from grand_pipeline.annotations import publish_shard
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.retry import take_out_failed
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import annotate_shard
from tests.fakes import Brightness, Caption, annotate_all, make_run, png

SHARD = 2


def plan(poison: tuple[str, ...] = (), word: str = "mean") -> Plan:
    return make_plan([Brightness(poison=poison), Caption(word=word)])


def counts(run: Run, steps: Plan) -> dict[str, int]:
    failures = build.failed_images(run, steps)
    return account(run, {i for failed in failures.values() for i in failed}, steps.fingerprint)


def annotate_some(run: Run, steps: Plan, amounts: list[int]) -> None:
    """The first tasks of each shard, as a driver leaves them that is killed at that moment."""
    with lock.hold(run.root) as token:
        for shard, amount in zip(run.shards(), amounts, strict=True):
            for step in steps.steps[:amount]:
                if run.state(step.key, shard, step.fingerprint) != "done":
                    annotate_shard(run, step, step.stage.load("cpu"), shard, token)
            if amount > len(steps.steps):
                publish_shard(run, steps, shard, token)


NAMES = ("a.png", "b.png", "c.png", "d.png")
names = st.sampled_from(NAMES)


class RunMachine(RuleBasedStateMachine):
    """A folder whose files come, go, change and are copied, and a run of it that is stopped, goes
    on with other options, loses fragments, and tries its failed images again.

    The model: how many uris every content has that was ever found.
    """

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.pictures = self.folder / "pictures"
        self.pictures.mkdir()
        self.run = Run.create(self.folder / "run", {})
        self.uris: dict[bytes, int] = {}
        self.plan = plan()
        for index, name in enumerate(NAMES):
            self.write(name, index)
        self.ingest()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(name=names, index=st.integers(0, 5))
    def write(self, name: str, index: int) -> None:
        """Picture `index`, or for 5 a file that is none."""
        (self.pictures / name).write_bytes(png(index) if index < 5 else b"no picture")

    @rule(name=names, other=names)
    def rename(self, name: str, other: str) -> None:
        if (self.pictures / name).exists():
            (self.pictures / name).rename(self.pictures / other)

    @precondition(lambda self: any(self.pictures.iterdir()))
    @rule()
    def ingest(self) -> None:
        build.add_images(self.run, [str(self.pictures)], SHARD)
        self.uris |= Counter(path.read_bytes() for path in self.pictures.iterdir())

    @rule(poison=st.sets(names, max_size=2), word=st.sampled_from(["mean", "avg"]))
    def change(self, poison: set[str], word: str) -> None:
        self.plan = plan(tuple(sorted(poison)), word)

    @rule(amount=st.integers(0, 3), part=st.integers(1, 3))
    def annotate(self, amount: int, part: int) -> None:
        shards = self.run.shards()
        annotate_some(
            self.run, self.plan, [amount if n % part == 0 else 0 for n in range(len(shards))]
        )

    @rule(key=st.sampled_from(["brightness.fake", "caption.fake", ANNOTATIONS]))
    def lose(self, key: str) -> None:
        self.run.discard(key, self.run.shards()[-1])

    @rule()
    def try_again(self) -> None:
        take_out_failed(self.run, self.plan)

    @rule()
    def finish(self) -> None:
        annotate_all(self.run, self.plan)
        report = self.report()
        assert report["pending"] == 0
        assert all(s["stale"] == s["missing"] == 0 for s in report["stages"].values())
        erring = sum(bool(row.errors) for row in self.run.annotations())
        assert report["failed"] + report["unreadable"] == erring

    @invariant()
    def every_file_stands_under_one_heading(self) -> None:
        report = self.report()
        found = sum(self.uris.values())
        assert report["found"] == found == sum(report[name] for name in HEADINGS[1:])
        assert report["duplicate"] == found - len(self.uris)
        assert report["unreadable"] == (b"no picture" in self.uris)

    def report(self) -> dict[str, Any]:
        return accounts.report(self.run, self.plan, build.failed_images(self.run, self.plan))


@pytest.mark.parametrize(
    ("examples", "steps"), [(3, 8), pytest.param(20, 16, marks=pytest.mark.chaos)]
)
def test_the_sum_is_what_was_found_in_every_state(examples: int, steps: int) -> None:
    bounds = settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(RunMachine, settings=bounds)


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
