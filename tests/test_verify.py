"""Every way of damaging a run is found, and a whole run is called whole."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from grand_pipeline import lock, publication, seal
from grand_pipeline.errors import RunError
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.plan import make_plan
from grand_pipeline.storage import Place
from grand_pipeline.store import Run
from grand_pipeline.verify import Finding, verify
from tests.buckets import copied, delete, in_memory, write
from tests.fakes import Brightness, Caption, Graph, annotate_all, make_run, png
from tests.test_cli import call

TAGS, GRAPH = "stages/brightness.fake/00000.parquet", "stages/graph/00000.parquet"
LIST, ROWS = "images/00000.parquet", "annotations/00000.parquet"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two shards that nobody has harmed; tests take a copy of it."""
    root = tmp_path_factory.mktemp("built")
    run = make_run(root, images=6, shard_size=3)
    annotate_all(run, make_plan([Brightness(), Caption(), Graph()]))
    return run.root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "run")


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, built: Path, tmp_path: Path) -> Place:
    """A copy of the run, here or in a bucket."""
    return copied(built, tmp_path / "run" if request.param == "folder" else in_memory())


def found(root: Place) -> list[tuple[str, str]]:
    return [(finding.path, finding.kind) for finding in verify(root).findings]


def flip(path: Place, at: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    write(path, bytes(data))


def test_an_unharmed_run_is_whole(built: Path) -> None:
    report = verify(built)
    assert report.whole and report.findings == ()
    # run.json, and two shards of images, three stages and published rows
    assert report.files == 1 + 2 * 5
    paths = (path for path in built.rglob("*") if path.is_file() and path.name != ".lock")
    assert report.bytes == sum(path.stat().st_size for path in paths)


def test_rendered_truth_is_whole(tmp_path: Path) -> None:
    render_dataset(tmp_path, 2, 5)
    assert found(tmp_path / "truth") == []


@pytest.mark.parametrize("name", ["run.json", LIST, TAGS, ROWS])
def test_every_flipped_byte_is_found(root: Path, name: str) -> None:
    data = bytearray((root / name).read_bytes())
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        assert seal.fault(io.BytesIO(data)) is not None, f"byte {at} of {len(data)}"
        data[at] ^= 1 << at % 8
    assert seal.fault(io.BytesIO(data)) is None


@pytest.mark.parametrize("name", ["run.json", LIST, TAGS, ROWS])
def test_a_flipped_byte_is_reported_with_its_file(place: Place, name: str) -> None:
    size = len((place / name).read_bytes())
    for at in (0, size // 3, size // 2, size - 30, size - 1):
        flip(place / name, at, mask=0x80)
        assert found(place) == [(name, "damaged")]
        flip(place / name, at, mask=0x80)
    assert found(place) == []


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_file_is_found(place: Place, keep: int) -> None:
    path = place / GRAPH
    write(path, path.read_bytes()[:keep])
    assert found(place) == [(GRAPH, "damaged")]


def test_a_longer_file_is_found(place: Place) -> None:
    path = place / GRAPH
    write(path, path.read_bytes() + b"\0")
    assert found(place) == [(GRAPH, "damaged")]


@pytest.mark.parametrize("other", ["stages/brightness.fake/00001.parquet", GRAPH, ROWS, LIST])
def test_swapped_files_are_found(place: Place, other: str) -> None:
    one, two = ((place / name).read_bytes() for name in (TAGS, other))
    write(place / TAGS, two)
    write(place / other, one)
    assert found(place) == sorted([(TAGS, "misplaced"), (other, "misplaced")])


def test_image_ids_that_do_not_match_are_found(place: Place) -> None:
    run = Run(place)
    ids = [row.image_id for row in run.shard_images("00000")]
    marks = {"fingerprint": "aa", "digest": run.shard_digest("00000")}
    run.discard("s", "00000")
    run.commit("s", "00000", pa.table({"image_id": ids[::-1]}), marks)
    run.commit("s", "00001", pa.table({"image_id": ids}), marks)
    report = verify(place)
    assert [(f.path, f.kind) for f in report.findings] == [
        ("stages/s/00000.parquet", "ids"),
        ("stages/s/00001.parquet", "ids"),
    ]
    assert "footer promises" in report.findings[0].detail
    assert "not those of images/00001" in report.findings[1].detail


def foreign(path: Path) -> None:
    path.write_text("a note")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/absent")


@pytest.mark.parametrize("make", [foreign, pipe, link])
@pytest.mark.parametrize("name", ["notes.txt", "annotations/x.parquet", "stages/graph/1.parquet"])
def test_foreign_files_are_found(root: Path, name: str, make: Callable[[Path], None]) -> None:
    make(root / name)
    assert found(root) == [(name, "foreign")]


@pytest.mark.parametrize("make", [foreign, pipe, link])
def test_what_is_no_fragment_under_a_fragment_s_name(
    root: Path, make: Callable[[Path], None]
) -> None:
    (root / GRAPH).unlink()
    make(root / GRAPH)
    assert found(root) == [(GRAPH, "damaged")]


def test_pictures_that_were_drawn_are_not_foreign(root: Path) -> None:
    (root / "show").mkdir()
    foreign(root / "show" / "contact_sheet.png")
    assert found(root) == []


@pytest.mark.parametrize("name", ["run.json", LIST, TAGS, GRAPH])
def test_a_missing_file_is_found(place: Place, name: str) -> None:
    delete(place / name)
    assert found(place) == [(name, "missing")]


def test_a_fragment_that_was_never_made_is_no_damage(place: Place) -> None:
    delete(place / ROWS)
    assert found(place) == [], "what a stopped run has not come to"


def test_a_note_of_a_dead_worker_in_a_bucket_is_found(built: Path) -> None:
    root, name = copied(built, in_memory()), ".commits/note"
    write(root / name, b"{}")
    write(root / "notes.txt", b"mine")
    assert found(root) == [(name, "temporary"), ("notes.txt", "foreign")]


def test_leftover_temporary_files_are_found_unless_a_driver_is_at_work(root: Path) -> None:
    name = "stages/graph/.tmp-00000-torn"
    (root / name).write_bytes(b"PAR1")
    assert found(root) == [(name, "temporary")]
    with lock.hold(root):
        report = verify(root)
        assert report.busy and report.whole
        assert not verify(root, held=True).whole


def test_rows_that_were_joined_from_other_values_are_found(place: Place) -> None:
    run = Run(place)
    footer = publication.metadata(place / GRAPH)
    assert footer is not None
    ids = [row.image_id for row in run.shard_images("00000")]
    run.discard("graph", "00000")
    values = pa.table({"image_id": ids, "scene_graph": ["another text"] * len(ids)})
    run.commit("graph", "00000", values, footer)
    assert found(place) == [(ROWS, "lineage")]


def test_a_changed_option_is_no_damage(root: Path) -> None:
    annotate_all(Run(root), make_plan([Brightness(), Caption(word="avg"), Graph()]))
    shelved = sorted(root.rglob(".shelf/*/00000.parquet"))
    assert len(shelved) == 3
    assert found(root) == []
    # Cut off after the first of the changed stages: what follows is stale, and no damage.
    for key in ("graph", "annotations"):
        Run(root).discard(key, "00000")
    assert found(root) == []
    flip(shelved[0], 70)
    assert found(root) == [(shelved[0].relative_to(root).as_posix(), "damaged")]


def test_pictures_that_changed_or_vanished_are_found_when_asked(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=4)
    first = next(run.images())
    copy, broken = tmp_path / "copy.png", tmp_path / "pictures" / "0003.png"
    copy.write_bytes(png(0))
    run.relist({first.image_id: (first.uri, str(copy))})
    assert verify(run.root, sources=True).whole
    copy.unlink()
    Path(first.uri).write_bytes(png(77))
    broken.write_bytes(png(3)[:40])
    assert verify(run.root).whole
    findings = verify(run.root, sources=True).findings
    assert {Path(finding.path).name for finding in findings} == {"copy.png", "0000.png", "0003.png"}
    assert {finding.kind for finding in findings} == {"source"}
    by_path = {finding.path: finding.detail for finding in findings}
    assert by_path[first.uri] == "has changed since it was ingested"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run\.json"):
        verify(tmp_path)


def test_the_command_s_answer_and_exit_code(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify", str(root)) == 0
    assert "0 things are wrong" in capsys.readouterr().out
    flip(root / GRAPH, 9)
    assert call("verify", str(root)) == 1
    printed = capsys.readouterr()
    assert GRAPH in printed.out and "grand repair" in printed.err
    assert call("verify", str(root), "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["whole"] and report["files"] == 11 and report["mb_per_second"] > 0
    assert report["findings"] == [
        {
            "path": GRAPH,
            "kind": "damaged",
            "detail": "its bytes are not those that were written",
            "remedy": Finding(GRAPH, "damaged", "").remedy,
        }
    ]
