"""Names, links and archives that lead elsewhere: what a source says is never a place to open, and
a refused import leaves the run as it was."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from grand_pipeline.errors import GrandError, PlanError, UserError
from grand_pipeline.importers.grand import import_annotations
from grand_pipeline.importers.grand_raw import import_raw
from grand_pipeline.importers.intake import Order
from grand_pipeline.importers.notes import Report
from grand_pipeline.store import Run
from tests.importers.outcomes import accidents, errors, tree
from tests.importers.raw_world import DOG, FIRST, pictures, predictions, seen, write
from tests.importers.test_grand import newest

ELSEWHERE = "images whose name is an address or leads out of its folder, not imported"
NAMES: dict[str, str] = {
    "up": "../../etc/passwd",
    "up later": "a/../../first.jpg",
    "root": "/etc/passwd",
    "folder": "pictures/",
    "here": "./first.jpg",
    "file": "file:///etc/passwd",
    "web": "http://127.0.0.1:9/first.jpg",
    "bucket": "s3://bucket/first.jpg",
    "chained": "simplecache::first.jpg",
    "windows": "..\\..\\first.jpg",
    "nul": "first.jpg\x00.png",
    "line": "first.jpg\nsecond.jpg",
    "escape": "\x1b]0;first\x07.jpg",
    "turned": "\u202egpj.first",
    "half": "\ud800.jpg",
    "long": "a" * 5000 + ".jpg",
}


def bring(folder: Path, *, images: bool = False) -> Report:
    given = (str(folder / "pictures"),) if images else ()
    return import_annotations([folder / "said"], Order(folder / "run", given))


@pytest.mark.parametrize("case", sorted(NAMES))
def test_no_name_becomes_a_place_to_open(tmp_path: Path, case: str) -> None:
    write(tmp_path / "said" / "bad.json", {NAMES[case]: newest()})
    write(tmp_path / "said" / "good.json", {"folder/first.jpg": newest()})
    report = bring(tmp_path)
    assert [row.uri for row in Run.open(tmp_path / "run").images()] == ["folder/first.jpg"]
    assert report.changed.counts[ELSEWHERE] == 1
    assert "bad.json" in report.text()
    assert accidents(tmp_path / "run", "grand") == []


def test_with_images_a_name_is_only_compared(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures")
    for case, name in NAMES.items():
        write(tmp_path / "said" / f"{case}.json", {name: newest()})
    bring(tmp_path, images=True)
    uris = [row.uri for row in Run.open(tmp_path / "run").images()]
    assert uris == [str(tmp_path / "pictures" / name) for name in (FIRST, "second.png")]


def test_predictions_are_named_as_safely(tmp_path: Path) -> None:
    for case, name in NAMES.items():
        said = {name: {"co_detr": [seen(DOG, 0.5, "dog")]}}
        write(tmp_path / "said" / "co_detr" / f"{case}.json", said)
    with pytest.raises(UserError, match="nothing was imported: no image"):
        import_raw(tmp_path / "said", Order(tmp_path / "run"))
    assert tree(tmp_path / "run") == {}


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.txt", "A secret that nobody gave.")
    valid = predictions(tmp_path / "valid")
    (valid / "level-3-vicuna-13B" / "second.txt").symlink_to(secret)
    (valid / "level-4-vicuna-13B").symlink_to(tmp_path)
    inside = valid / "co_detr" / "first.json"
    (valid / "co_detr" / "again.json").symlink_to(inside)
    report = import_raw(valid, Order(tmp_path / "run"))
    assert report.changed.counts["links that lead out of the folder, not followed"] == 2
    assert report.sources["dense_draft"]["imported"] == 1
    assert any("another file already" in what for what in report.changed.counts)
    whole = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*.parquet"))
    assert b"secret" not in whole


def test_links_in_a_circle_pipes_and_folders_are_no_annotations(tmp_path: Path) -> None:
    write(tmp_path / "said" / "good.json", {"good.jpg": newest()})
    (tmp_path / "said" / "circle.json").symlink_to(tmp_path / "said" / "circle.json")
    (tmp_path / "said" / "round").symlink_to(tmp_path / "said")
    os.mkfifo(tmp_path / "said" / "pipe.json")
    (tmp_path / "said" / "folder.json").mkdir()
    (tmp_path / "said" / "zero.json").symlink_to("/dev/zero")
    report = bring(tmp_path)
    assert report.images == 1 and report.failed == 0


def test_a_file_name_that_is_no_text_is_kept_as_text(tmp_path: Path) -> None:
    write(tmp_path / "said" / "good.json", {"good.jpg": newest()})
    odd = os.fsdecode(b"caf\xe9\x1b.json")
    os.rename(tmp_path / "said" / "good.json", tmp_path / "said" / odd)
    write(tmp_path / "said" / os.fsdecode(b"\xff.json"), "broken")
    report = bring(tmp_path)
    assert report.failed == 0 and report.changed.counts[ELSEWHERE] == 1
    assert errors(tmp_path / "run", "grand") == {"good.jpg": None}
    report.text().encode()


@pytest.mark.parametrize("key", ["\udcff.jpg", "x" * 9000])
def test_a_report_does_not_repeat_what_files_make_up(tmp_path: Path, key: str) -> None:
    said = {FIRST: {key: [seen(DOG, 0.5, "dog")]}}
    write(tmp_path / "said" / "eva-02-02" / "first.json", said)
    report = import_raw(tmp_path / "said", Order(tmp_path / "run"))
    assert report.changed.counts["files of eva-02-02 that say something else"] == 1
    assert len(report.text().encode()) < 2000


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("../../evil.json")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"{}"))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.json", "{}")


ARCHIVES: dict[str, Callable[[Path], object]] = {
    "said.tar": tarred,
    "tar.json": tarred,
    "said.zip": zipped,
    "zip.json": zipped,
    "said.json.gz": lambda path: path.write_bytes(gzip.compress(b"{}")),
    "gz.json": lambda path: path.write_bytes(gzip.compress(b"{}")),
}


@pytest.mark.parametrize("name", sorted(ARCHIVES))
@pytest.mark.parametrize("kind", ["grand", "grand-raw"])
def test_an_archive_is_refused_with_what_to_do(tmp_path: Path, kind: str, name: str) -> None:
    ARCHIVES[name](tmp_path / name)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=f"{name}' is an archive, which is not opened: unpack it"):
        if kind == "grand":
            import_annotations([tmp_path / name], Order(tmp_path / "run"))
        else:
            import_raw(tmp_path / name, Order(tmp_path / "run"))
    assert tree(tmp_path) == before and not (tmp_path / "run").exists()


def test_an_archive_among_the_files_of_a_folder_is_a_row_or_named(tmp_path: Path) -> None:
    valid = predictions(tmp_path / "valid")
    tarred(valid / "co_detr" / "more.tar")
    zipped(valid / "co_detr" / "second.json")
    report = import_raw(valid, Order(tmp_path / "run", (str(pictures(tmp_path / "pictures")),)))
    assert report.changed.counts["files that are no .json, not read"] == 1
    error = errors(tmp_path / "run", "co_detr")[str(tmp_path / "pictures" / "second.png")]
    assert "second.json' is not" in str(error)


@pytest.mark.parametrize("images", [True, False])
def test_a_refused_import_leaves_the_run_as_it_was(tmp_path: Path, images: bool) -> None:
    write(tmp_path / "said" / "first.json", {FIRST: newest()})
    pictures(tmp_path / "pictures")
    (tmp_path / "pictures" / "second.png").rename(tmp_path / "later.png")
    bring(tmp_path, images=images)
    mine = {"name": "mine", "description": "", "stages": {"landmark": {}}}
    Run.create(tmp_path / "run", mine)
    (tmp_path / "later.png").rename(tmp_path / "pictures" / "second.png")
    write(tmp_path / "said" / "second.json", {"second.png": newest()})
    before = tree(tmp_path / "run")
    with pytest.raises(PlanError, match="'landmark' has two writers"):
        bring(tmp_path, images=images)
    assert tree(tmp_path / "run") == before


def test_a_refused_import_into_a_new_run_leaves_none(tmp_path: Path) -> None:
    write(tmp_path / "said" / "bad.json", {"../x.jpg": newest()})
    with pytest.raises(GrandError, match="nothing was imported"):
        bring(tmp_path)
    assert tree(tmp_path / "run") == {}


def test_a_range_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    valid = predictions(tmp_path / "valid")
    (depth,) = (valid / "midas").iterdir()
    depth.rename(depth.with_name("first_min_9_max_-9.jpg"))
    import_raw(valid, Order(tmp_path / "run"))
    assert "ends before it begins" in str(errors(tmp_path / "run", "midas")[FIRST])
