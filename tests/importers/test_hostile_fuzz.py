"""Mutated sources, a few; `tests/chaos/test_fuzz_importers.py` has thousands."""

from __future__ import annotations

from pathlib import Path

from tests.importers import fuzzing


def test_mutated_annotations(tmp_path: Path) -> None:
    assert sum(fuzzing.finished(tmp_path, seed, 45) for seed in range(4)) == 180


def test_mutated_predictions(tmp_path: Path) -> None:
    assert sum(fuzzing.predicted(tmp_path, seed) for seed in range(2)) >= 30
