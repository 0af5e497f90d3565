"""The feedback loop finds planted errors and leaves true claims alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import feedback, planting
from grand_pipeline.types import Span


def test_planted_errors_are_found_and_true_claims_stay(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["feedback", "-n", "12", "--seed", "3", "--json"])
    feedback.main()
    report = json.loads(capsys.readouterr().out)
    assert all(report["errors"][kind]["planted"] >= 3 for kind in planting.KINDS)
    assert report["found"] >= 0.95
    assert report["true_claims"] > 100
    assert report["false_alarms"] < 0.01 and report["harmed"] < 0.01
    assert "planted" in feedback.table(report)


def test_errors_are_planted_and_taken_out_again() -> None:
    true = "A red car is here. A dog too."
    errors = (
        planting.Error("color", 2, 5, "blue", "A blue car"),
        planting.Error("object", 19, 19, " We also see a lamp. ", "a lamp"),
    )
    faulty = planting.Faulty(true, (Span(0, 9, (0,)),), errors)
    said = "<p>A blue car</p>[0] is here.  We also see a lamp. A dog too."
    assert faulty.text() == said
    once = faulty.obeyed("A blue car")
    assert once.text() == said.replace("blue", "red")
    assert once.obeyed("A blue car") == once
    assert once.obeyed("a lamp").text() == "<p>A red car</p>[0] is here. A dog too."
    assert once.obeyed("A dog").obeyed("a lamp").text() == "<p>A red car</p>[0] is here."


def test_errors_do_not_overlap_and_are_errors() -> None:
    truths = [feedback._truth(8, n) for n in range(4)]
    rng = np.random.default_rng(1)
    for truth, described in zip(truths, feedback._texts(truths), strict=True):
        faulty = planting.plant(described, truth, rng)
        for error in faulty.errors:
            assert error.words in feedback.plain(faulty.text())
            assert error.words not in faulty.true
