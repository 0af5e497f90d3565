"""Scores as tables, of one run or of two side by side."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from grand_pipeline.cli import app
from grand_pipeline.evaluation import compared, differences, text
from grand_pipeline.picturebook.truth import render_dataset

OURS = {"images": 40.0, "objects.f1": 0.9, "masks.miou": None, "phrases.new": 0.5}
THEIRS = {"images": 38.0, "objects.f1": 0.95, "masks.miou": 0.8, "phrases.old": 1.0}


def test_one_run() -> None:
    assert text(OURS).splitlines() == [
        "  images        40",
        "",
        "objects",
        "  f1         0.900",
        "",
        "masks",
        "  miou           -",
        "",
        "phrases",
        "  new        0.500",
    ]


def test_two_runs_side_by_side() -> None:
    assert compared(OURS, THEIRS, ("v2", "v1")).splitlines() == [
        "                  v2          v1  difference",
        "  images          40          38          +2",
        "",
        "objects",
        "  f1           0.900       0.950      -0.050",
        "",
        "masks",
        "  miou             -       0.800           -",
        "",
        "phrases",
        "  new          0.500           -           -",
        "  old              -       1.000           -",
    ]


def test_differences_need_both_sides() -> None:
    found = differences(OURS, THEIRS)
    assert found["images"] == 2.0
    assert found["masks.miou"] is found["phrases.new"] is found["phrases.old"] is None


def test_the_command_prints_both_and_gives_both_as_json(tmp_path: Path) -> None:
    truth = str(render_dataset(tmp_path, 2, 5).root)
    given = ["eval", "labels", "--run", truth, "--truth", truth, "--compare", truth]
    table = CliRunner().invoke(app, given)
    assert table.exit_code == 0
    assert table.stdout.splitlines()[0].split() == ["truth", "truth", "difference"]
    both = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert set(both) == {"run", "compare", "difference"}
    assert both["run"]["objects.f1"] == both["compare"]["objects.f1"] == 1.0
    assert both["difference"]["objects.f1"] == 0.0
