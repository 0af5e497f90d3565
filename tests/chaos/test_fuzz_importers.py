"""Thousands of mutated annotations and predictions: no exception but the project's own, no hang,
and a refused import leaves the run as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.importers import fuzzing

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("series", range(10))
def test_mutated_annotations(tmp_path: Path, series: int) -> None:
    files = 0
    for seed in range(1000 * series, 1000 * series + 10):
        files += fuzzing.finished(tmp_path / str(seed), seed, 40)
        shutil.rmtree(tmp_path / str(seed))
    assert files == 400


@pytest.mark.parametrize("series", range(10))
def test_mutated_predictions(tmp_path: Path, series: int) -> None:
    files = 0
    for seed in range(1000 * series, 1000 * series + 10):
        files += fuzzing.predicted(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))
    assert files >= 150
