"""A damaged run becomes the undisturbed one again, and only what was damaged is computed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from grand_pipeline import build, lock
from grand_pipeline.columns import TAGS
from grand_pipeline.errors import RunError
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.record import Record
from grand_pipeline.repair import Repaired, repair
from grand_pipeline.settings import Preset
from grand_pipeline.stage import Row, Stage
from grand_pipeline.store import Run
from grand_pipeline.types import Tag
from grand_pipeline.verify import verify
from tests.fakes import Brightness, Caption, Graph, annotate_all, make_run, note
from tests.test_cli import call

BRIGHT, CAPTION = "stages/brightness.fake/{}.parquet", "stages/caption.fake/{}.parquet"
LIST, ROWS = "images/{}.parquet", "annotations/{}.parquet"


@dataclass(frozen=True)
class Bench:
    """A run, the plan that made it, where its stages note their calls, and what it should be."""

    run: Run
    plan: Plan
    log: Path
    undisturbed: Path

    def path(self, name: str, shard: str = "00000") -> Path:
        return self.run.root / name.format(shard)

    def damage(self, name: str, shard: str = "00000") -> None:
        path = self.path(name, shard)
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 4
        path.write_bytes(data)

    def repair(self) -> Repaired:
        return repair(self.run.root, lambda: annotate_all(self.run, self.plan))

    def calls(self) -> list[str]:
        """Step and number of the images of every call of a stage since the run was made."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sorted(f"{line.split()[0]} {line.count(',') + 1}" for line in lines)

    def rows(self) -> list[dict[str, Any]]:
        return rows(self.run.root)


def rows(root: Path) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = pq.read_table(root / "annotations").to_pylist()
    return plain


def plan(log: Path, first: Stage[float] | None = None) -> Plan:
    return make_plan([first or Brightness(log=str(log)), Caption(log=str(log)), Graph()])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    log = tmp_path / "log"
    run, steps = make_run(tmp_path, images=7, shard_size=3), plan(log)
    annotate_all(run, steps)
    log.unlink()
    undisturbed = shutil.copytree(run.root, tmp_path / "undisturbed")
    return Bench(run, steps, log, undisturbed)


def check_whole(bench: Bench, done: Repaired) -> None:
    assert done.now.findings == () == verify(bench.run.root).findings
    assert bench.rows() == rows(bench.undisturbed)


def test_a_whole_run_is_left_alone(bench: Bench) -> None:
    done = bench.repair()
    assert (done.moved, done.notes) == ((), ())
    assert bench.calls() == []
    assert not (bench.run.root / ".damaged").exists()


def test_only_the_damaged_fragment_is_computed_and_nothing_is_lost(bench: Bench) -> None:
    bench.damage(BRIGHT, "00001")
    torn = bench.path(BRIGHT, "00001").read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in bench.run.root.rglob("*.parquet")}
    done = bench.repair()
    assert [finding.path for finding in done.moved] == [BRIGHT.format("00001")]
    # The same values again, so what was made from them stays.
    assert bench.calls() == ["brightness.fake 3"]
    changed = [path for path, stamp in kept.items() if path.stat().st_mtime_ns != stamp]
    assert changed == [bench.path(BRIGHT, "00001")]
    aside = list(bench.run.root.glob(f".damaged/*/{BRIGHT.format('00001')}"))
    assert [path.read_bytes() for path in aside] == [torn]
    check_whole(bench, done)


def test_several_damages_at_once(bench: Bench) -> None:
    bench.damage(BRIGHT, "00000")
    bench.damage(CAPTION, "00001")
    bench.damage(ROWS, "00002")
    (bench.run.root / "annotations" / "x.parquet").write_bytes(b"foreign")
    (bench.run.root / "annotations" / ".tmp-00000-torn").write_bytes(b"PAR1")
    done = bench.repair()
    assert bench.calls() == ["brightness.fake 3", "caption.fake 3"]
    assert len(done.moved) == 5
    check_whole(bench, done)


def test_swapped_shards_are_put_right(bench: Bench) -> None:
    one, other = bench.path(CAPTION, "00000"), bench.path(CAPTION, "00001")
    one.rename(bench.run.root / "t")
    other.rename(one)
    (bench.run.root / "t").rename(other)
    done = bench.repair()
    assert bench.calls() == ["caption.fake 3"] * 2
    check_whole(bench, done)


@pytest.mark.parametrize("name", [BRIGHT, CAPTION, LIST])
def test_a_missing_file_is_made_again(bench: Bench, name: str) -> None:
    bench.path(name).unlink()
    check_whole(bench, bench.repair())


@pytest.mark.parametrize("shard", ["00000", "00002"])
def test_a_damaged_image_list_comes_from_the_published_rows(bench: Bench, shard: str) -> None:
    before = bench.run.shard_images(shard)
    bench.damage(LIST, shard)
    done = bench.repair()
    assert bench.run.shard_images(shard) == before
    assert bench.calls() == []
    assert "lists the copies" in done.notes[0]
    check_whole(bench, done)


def test_a_list_whose_pictures_vanished_keeps_ids_and_sizes(bench: Bench) -> None:
    before = bench.run.shard_images("00000")
    Path(before[1].uri).unlink()
    bench.damage(LIST)
    done = bench.repair()
    after = bench.run.shard_images("00000")
    assert [row.image_id for row in after] == [row.image_id for row in before]
    assert (after[1].width, after[1].height, after[1].format) == (12, 10, None)
    assert "1 pictures have vanished" in done.notes[1]
    check_whole(bench, done)


def test_embedded_pictures_are_embedded_again(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=0)
    build.add_images(run, [str(Path(__file__).parents[1] / "examples")], 4, embed=True)
    steps = plan(tmp_path / "log")
    annotate_all(run, steps)
    before = list(run.images())
    (run.root / "images" / "00001.parquet").write_bytes(b"")
    assert repair(run.root, lambda: annotate_all(run, steps)).now.whole
    assert list(run.images()) == before
    assert all(row.bytes for row in before if row.error is None)


def test_a_list_that_nothing_was_published_from_is_given_up_openly(bench: Bench) -> None:
    bench.path(ROWS).unlink()
    bench.damage(LIST)
    done = bench.repair()
    assert done.now.whole
    assert bench.run.shards() == ["00001", "00002"]
    assert "can not be made again" in done.notes[0]
    build.add_images(bench.run, [str(bench.run.root.parent / "pictures")], 3)
    annotate_all(bench.run, bench.plan)
    assert verify(bench.run.root).whole

    def by_id(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(found, key=lambda row: str(row["image_id"]))

    assert by_id(bench.rows()) == by_id(rows(bench.undisturbed))


@dataclass(frozen=True, kw_only=True)
class Sampling(Brightness):
    """Never says the same twice."""

    count: ClassVar[list[int]] = []

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        note(self.log, self.key, [record.image_id for record in records])
        self.count.append(1)
        said = float(len(self.count))
        return [{TAGS.of(self.source): (Tag("mood", said, self.source),)} for _ in records]


def test_what_was_made_from_lost_values_is_made_from_the_new_ones(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run, steps = make_run(tmp_path), plan(log, Sampling(log=str(log)))
    annotate_all(run, steps)
    log.unlink()
    bench = Bench(run, steps, log, run.root)
    bench.damage(BRIGHT, "00001")
    done = bench.repair()
    assert done.now.whole
    assert bench.calls() == ["brightness.fake 3", "caption.fake 3"], "of the damaged shard alone"
    moved = [(finding.path, finding.kind) for finding in done.moved]
    assert moved[0] == (BRIGHT.format("00001"), "damaged")
    assert (CAPTION.format("00001"), "lineage") in moved
    published = rows(run.root)
    texts = [row["captions"][0]["text"] for row in published]
    assert texts == ["mean fake 1.00"] * 3 + ["mean fake 3.00"] * 3


def test_a_damaged_run_json_needs_a_preset(bench: Bench) -> None:
    bench.damage("run.json")
    torn = bench.path("run.json").read_bytes()
    with pytest.raises(RunError, match="--preset"):
        bench.repair()
    assert bench.path("run.json").read_bytes() == torn, "nothing was touched"
    described = build.described(Preset("fake", "", {}), None)
    done = repair(bench.run.root, lambda: annotate_all(bench.run, bench.plan), described)
    assert bench.run.info()["preset"] == described
    assert bench.calls() == []
    check_whole(bench, done)


def test_the_command_asks_for_the_preset(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.path("run.json").write_bytes(b"\xff")
    assert call("repair", str(bench.run.root)) == 2
    assert "name them again with --preset" in capsys.readouterr().err
    assert not (bench.run.root / ".damaged").exists()


def test_a_run_that_is_being_written_is_not_touched(bench: Bench) -> None:
    bench.damage(BRIGHT)
    with lock.hold(bench.run.root), pytest.raises(RunError, match="another process"):
        bench.repair()
    assert not (bench.run.root / ".damaged").exists()


def test_what_computing_does_not_mend_is_reported(bench: Bench) -> None:
    bench.path(CAPTION).unlink()
    done = repair(bench.run.root, lambda: None)
    assert [finding.path for finding in done.now.findings] == [CAPTION.format("00000")]


def drop(root: Path) -> None:
    (root / "stages" / "notes.txt").write_text("x")


def tear(root: Path) -> None:
    (root / "annotations" / ".tmp-0").write_text("x")


@pytest.mark.parametrize("harm", [drop, tear])
def test_the_command_on_a_run_that_needs_no_computing(
    bench: Bench, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None]
) -> None:
    harm(bench.run.root)
    assert call("repair", str(bench.run.root), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["repaired"]) == 1 and report["now"]["whole"]
    assert call("repair", str(bench.run.root), "--preset", "open") == 2
    assert "is whole" in capsys.readouterr().err
