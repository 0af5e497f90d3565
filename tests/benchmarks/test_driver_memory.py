"""The benchmark makes the run that it says and reads its gauge at every tenth."""

from __future__ import annotations

from pathlib import Path

from benchmarks import driver_memory
from grand_pipeline.worker import Outcome
from tests.fakes import annotate_all


def test_the_run_has_the_images_and_the_plan_annotates_them(tmp_path: Path) -> None:
    run = driver_memory.make_run(tmp_path / "run", 7, shard_size=3)
    assert [len(run.shard_images(shard)) for shard in run.shards()] == [3, 3, 1]
    annotate_all(run, driver_memory.plan())
    for row in run.annotations():
        assert row.errors == () and row.scene_graph == row.image_id[:8].upper()


def test_the_gauge_is_read_at_every_tenth() -> None:
    gauge = driver_memory.Gauge(tasks=40)
    for done in range(40):
        gauge.report(Outcome("words", str(done), 1, 0, 0, 0.1))
        assert len(gauge.tenths_mb) == (done + 1) // 4
    assert gauge.peak_mb + 0.1 > max(gauge.tenths_mb) > 1
