"""Fragments that are made in several turns keep what each turn has made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grand_pipeline import build, fragments, lock
from grand_pipeline.plan import Step, make_plan
from grand_pipeline.poison import WHOLE, Turn
from grand_pipeline.store import Run
from grand_pipeline.worker import annotate_shard
from tests.fakes import Brightness, png

STEP = make_plan([Brightness()]).steps[0]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A shard of four images."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(4):
        (pictures / f"{index}.png").write_bytes(png(index))
    run = Run.create(tmp_path / "run", {"name": "fake", "description": "", "stages": {}})
    build.add_images(run, [str(pictures)], 4)
    return run


def annotate(run: Run, turn: Turn) -> None:
    with lock.hold(run.root) as token:
        annotate_shard(run, STEP, STEP.stage.load("cpu"), "00000", token, turn)


def test_every_turn_adds_to_a_partial_fragment(run: Run) -> None:
    for last in range(3):
        annotate(run, Turn(only=(last,)))
        assert sorted(fragments.kept(run, STEP, "00000")) == list(range(last + 1))
    annotate(run, WHOLE)
    assert run.state(STEP.key, "00000", STEP.fingerprint) == "done"


def test_a_late_turn_does_not_replace_a_whole_fragment(run: Run) -> None:
    annotate(run, WHOLE)
    whole = run.fragment(STEP.key, "00000").read_bytes()
    annotate(run, Turn(only=(0,)))
    assert run.state(STEP.key, "00000", STEP.fingerprint) == "done"
    assert run.fragment(STEP.key, "00000").read_bytes() == whole


def test_a_late_turn_leaves_fragments_of_other_options(run: Run) -> None:
    other: Step = make_plan([replace(Brightness(), scale=2.0)]).steps[0]
    with lock.hold(run.root) as token:
        annotate_shard(run, other, other.stage.load("cpu"), "00000", token)
    annotate(run, Turn(only=(0,)))
    assert sorted(fragments.kept(run, STEP, "00000")) == [0]
    assert run.restore(other.key, "00000", other.fingerprint)
