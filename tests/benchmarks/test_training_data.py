from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import training_data
from training.data import views


@pytest.mark.parametrize("embed", [False, True])
def test_the_run_it_measures_is_a_run(tmp_path: Path, embed: bool) -> None:
    files = training_data.pictures(tmp_path, 4)
    assert 40_000 < sum(path.stat().st_size for path in files) / len(files) < 200_000
    run = training_data.write(tmp_path / "run", files, 70, 3, embed)
    rows = views.require(run.root, views.region_text, views.grounded_caption, views.segmentation)
    assert (len(rows), rows.embedded) == (70, embed)
    assert training_data.typed(rows, 70) > 0
    assert training_data.through(rows, 64, 0) > 0
    assert training_data.bare(files, 4) > 0
