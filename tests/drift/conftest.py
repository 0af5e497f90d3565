"""What the tests of a changing run begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline.store import Run
from tests.drift.bench import IMAGES, SHARD, Bench
from tests.fakes import png


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Six pictures, annotated."""
    bench = Bench(tmp_path)
    bench.pictures.mkdir()
    for index in range(IMAGES):
        (bench.pictures / f"{index}.png").write_bytes(png(index))
    Run.create(bench.run.root, {"name": "fake", "description": "", "stages": {}})
    bench.ingest()
    assert bench.build() == {("brightness.fake", SHARD): 2, ("caption.fake", SHARD): 2}
    return bench
