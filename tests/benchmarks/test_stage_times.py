from __future__ import annotations

from pathlib import Path

from PIL import Image

from benchmarks.stage_times import Cost, measure, report, table
from grand_pipeline.plan import make_plan
from tests.fakes import Brightness, Caption

IMAGES = [Image.new("RGB", (8, 8), (shade, shade, shade)) for shade in (10, 20, 30)]


def test_stages_get_what_stages_before_them_wrote(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = Brightness(batch_size=2, log=str(log))
    costs = measure(make_plan([Caption(), first]), IMAGES)
    assert list(costs) == [first.key, Caption().key]
    calls = log.read_text("utf-8").splitlines()
    assert len(calls) == 3, "the first batch twice, once to warm up"


def test_waiting_is_wall_time_only() -> None:
    slow = Brightness(batch_size=3, seconds=0.3)
    cost = measure(make_plan([slow]), IMAGES)[slow.key]
    assert cost.wall > 99, "milliseconds per image"
    assert cost.cpu < cost.wall


def test_report_and_table_add_up() -> None:
    costs = {"depth": Cost(40.0, 50.0), "segments": Cost(160.0, 300.0)}
    told = report(costs, 24)
    assert told["stages"] == {"depth": 40.0, "segments": 160.0}
    assert (told["images"], told["total_ms"], told["total_wall_ms"]) == (24, 200.0, 350.0)
    assert told["images_per_second"] == 5.0
    assert told["machine"]
    lines = table(costs).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["segments", "depth", "total"]
