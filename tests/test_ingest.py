"""Every file of a source is accounted for, equal contents are one row, growth is seen."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from PIL import Image

from grand_pipeline import codec, ingest
from grand_pipeline.columns import IMAGE_SCHEMA, ImageRow
from grand_pipeline.errors import ImageError, UserError
from tests.pictures import BAD


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16 + shade, 16), shade).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(root: Path, source: str | list[str], skip: Path | None = None) -> list[str]:
    return [os.path.relpath(uri, root) for uri in ingest.discover(source, skip=skip)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(["b.png", "a/z.PNG", "a/y.png", "c/d/e.png"]):
        write(tmp_path / name, png(index))
    write(tmp_path / "notes.md", b"words")
    write(tmp_path / ".hidden.png", png(9))
    write(tmp_path / ".cache" / "x.png", png(9))
    return tmp_path


ALL = ["a/y.png", "a/z.PNG", "b.png", "c/d/e.png", "notes.md"]


def test_folder_is_walked_in_order_without_hidden_names(folder: Path) -> None:
    assert names(folder, str(folder)) == ALL
    assert all(os.path.isabs(uri) for uri in ingest.discover(str(folder)))


def test_a_hidden_folder_can_be_named(folder: Path) -> None:
    assert names(folder, str(folder / ".cache")) == [".cache/x.png"]


def test_relative_sources_become_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert list(ingest.discover("a")) == [str(folder / "a/y.png"), str(folder / "a/z.PNG")]


def test_globs(folder: Path) -> None:
    assert names(folder, str(folder / "*.png")) == ["b.png"]
    assert names(folder, str(folder / "**" / "*.png")) == ["a/y.png", "b.png", "c/d/e.png"]
    assert names(folder, str(folder / "[ac]")) == ["a/y.png", "a/z.PNG", "c/d/e.png"]


def test_a_name_with_brackets_is_no_glob(tmp_path: Path) -> None:
    write(tmp_path / "shot [1].png", png(1))
    assert names(tmp_path, str(tmp_path / "shot [1].png")) == ["shot [1].png"]


@pytest.mark.parametrize("prefix", ["", "@"])
def test_lists_keep_missing_entries(folder: Path, prefix: str) -> None:
    listing = write(folder / "list.txt", f"c/d/e.png\n\n{folder}/b.png\r\na\ngone.png\n".encode())
    found = names(folder, f"{prefix}{listing}")
    assert found == ["c/d/e.png", "b.png", "a/y.png", "a/z.PNG", "gone.png"]


def test_several_sources_give_each_file_once(folder: Path) -> None:
    sources = [str(folder / "b.png"), str(folder), str(folder / "*.png")]
    assert names(folder, sources) == ["b.png", "a/y.png", "a/z.PNG", "c/d/e.png", "notes.md"]


def test_the_run_inside_the_folder_is_skipped(folder: Path) -> None:
    write(folder / "run" / "images" / "00000.parquet", b"PAR1")
    assert names(folder, str(folder), skip=folder / "run") == ALL


def test_linked_folders_are_entered_once(folder: Path) -> None:
    (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    assert sorted(Path(name).name for name in names(folder, str(folder))) == sorted(
        [Path(name).name for name in ALL] + ["link.png"]
    )


def test_remote_folder_glob_and_file() -> None:
    for name in ("x/2.png", "1.png", ".hidden/3.png"):
        with fsspec.open(f"memory://bucket/{name}", "wb") as file:
            file.write(png(1))
    found = list(ingest.discover("memory://bucket"))
    assert [uri.rpartition("bucket/")[2] for uri in found] == ["1.png", "x/2.png"]
    assert list(ingest.discover("memory://bucket/*.png")) == found[:1]
    assert list(ingest.discover("memory://bucket/1.png")) == found[:1]
    (row,) = ingest.scan(found[:1])
    assert (row.width, row.error) == (17, None)
    with pytest.raises(UserError, match="memory://nothing"):
        list(ingest.discover("memory://nothing"))


@pytest.mark.parametrize("name", ["gone", "gone.png", "gone/*.png", "@gone.txt"])
def test_missing_sources_are_named(tmp_path: Path, name: str) -> None:
    source = f"@{tmp_path}/gone.txt" if name.startswith("@") else str(tmp_path / name)
    with pytest.raises(UserError, match="gone"):
        list(ingest.discover(source))


def test_a_folder_with_hidden_files_only_is_nothing(tmp_path: Path) -> None:
    write(tmp_path / ".DS_Store", b"x")
    with pytest.raises(UserError, match="found no files"):
        list(ingest.discover(str(tmp_path)))
    with pytest.raises(UserError, match="found no files"):
        list(ingest.discover([str(tmp_path), str(tmp_path)]))
    with pytest.raises(UserError, match="nothing given"):
        list(ingest.discover([]))


def test_scan_gives_a_row_per_file_in_order(folder: Path) -> None:
    uris = list(ingest.discover(str(folder)))
    rows = list(ingest.scan(uris, threads=2))
    assert [row.uri for row in rows] == uris
    by_name = {os.path.relpath(row.uri, folder): row for row in rows}
    good = by_name["b.png"]
    assert good.image_id == hashlib.sha256(png(0)).hexdigest()[:32]
    assert (good.width, good.height, good.format, good.error) == (16, 16, "PNG", None)
    bad = by_name["notes.md"]
    assert (bad.width, bad.height, bad.format) == (None, None, None)
    assert "not an image" in str(bad.error)
    assert bad.image_id == hashlib.sha256(b"words").hexdigest()[:32]


def test_a_folder_of_bad_files_becomes_rows_and_the_good_one_stays(tmp_path: Path) -> None:
    for index, (make, _) in enumerate(BAD.values()):
        write(tmp_path / f"{index:02}.jpg", make())
    write(tmp_path / "good.png", png(7))
    intake = ingest.ingest(ingest.discover(str(tmp_path)))
    assert intake.found == len(BAD) + 1
    errors = {Path(row.uri).name: row.error for row in intake.rows}
    assert errors.pop("good.png") is None
    for (name, error), (_, reason) in zip(sorted(errors.items()), BAD.values(), strict=True):
        assert re.search(reason, str(error)), name


def test_unreadable_file_has_an_id_of_its_uri(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.png")
    (row,) = ingest.scan([gone])
    assert row.image_id == hashlib.sha256(f"unreadable:{gone}".encode()).hexdigest()[:32]
    assert "No such file" in str(row.error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_forbidden_files_and_folders_become_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.png", png(1)).chmod(0)
    write(tmp_path / "b" / "c.png", png(2)).parent.chmod(0)
    rows = ingest.ingest(ingest.discover(str(tmp_path))).rows
    assert ingest.ingest(ingest.discover(f"{tmp_path}/**/*.png")).rows == rows
    (tmp_path / "b").chmod(0o700)
    assert [Path(row.uri).name for row in rows] == ["a.png", "b"]
    assert all("Permission denied" in str(row.error) for row in rows)


def test_scan_reads_only_a_little_ahead(folder: Path) -> None:
    asked: list[int] = []

    def endless() -> Iterator[str]:
        for index in range(10_000):
            asked.append(index)
            yield str(folder / "b.png")

    rows = ingest.scan(endless(), threads=2)
    next(rows)
    assert len(asked) <= 4
    rows.close()


def test_equal_contents_are_one_row(tmp_path: Path) -> None:
    for name in ("c.png", "a.png", "b/x.png"):
        write(tmp_path / name, png(5))
    write(tmp_path / "d.png", png(6))
    for name in ("e.bin", "f.bin"):
        write(tmp_path / name, b"no image")
    counts: list[int] = []
    intake = ingest.ingest(ingest.discover(str(tmp_path)), progress=counts.append)
    assert [Path(row.uri).name for row in intake.rows] == ["a.png", "d.png", "e.bin"]
    first, _, broken = intake.rows
    assert first.duplicates == (str(tmp_path / "b/x.png"), str(tmp_path / "c.png"))
    assert broken.duplicates == (str(tmp_path / "f.bin"),)
    assert (intake.found, intake.seen) == (6, {})
    assert counts == [1, 2, 3, 4, 5, 6]
    table = pa.Table.from_pylist([codec.encode(row) for row in intake.rows], schema=IMAGE_SCHEMA)
    assert table.num_rows == 3


def listing(rows: Iterable[ImageRow]) -> dict[str, tuple[str, ...]]:
    """What a run lists of these rows."""
    return {row.image_id: (row.uri, *row.duplicates) for row in rows}


def test_a_grown_folder_brings_only_what_is_new(folder: Path) -> None:
    before = ingest.ingest(ingest.discover(str(folder)))
    listed = listing(before.rows)
    again = ingest.ingest(ingest.discover(str(folder)), known=listed)
    assert (again.rows, again.seen, again.found) == ((), listed, 5)
    assert ingest.moved(listed, again.seen) == {}

    write(folder / "new.png", png(40))
    copy = str(shutil.copy(folder / "b.png", folder / "copy.png"))
    grown = ingest.ingest(ingest.discover(str(folder)), known=listed)
    original = next(row for row in before.rows if row.uri.endswith("b.png"))
    assert [Path(row.uri).name for row in grown.rows] == ["new.png"]
    places = ingest.moved(listed, grown.seen)
    assert places == {original.image_id: (original.uri, copy)}

    listed |= places | listing(grown.rows)
    settled = ingest.ingest(ingest.discover(str(folder)), known=listed)
    assert (settled.rows, settled.found) == ((), 7)
    assert ingest.moved(listed, settled.seen) == {}


def test_a_picture_is_listed_where_it_is_now(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        write(folder / "same.png", png(1))
        write(folder / f"{folder.name}.png", png(ord(folder.name[0])))

    def now(listed: dict[str, tuple[str, ...]], folder: Path) -> dict[str, tuple[str, ...]]:
        intake = ingest.ingest(ingest.discover(str(folder)), known=listed)
        return listed | listing(intake.rows) | ingest.moved(listed, intake.seen)

    same = ingest.content_id(png(1))
    listed = now(now({}, one), two)
    assert listed[same] == (str(one / "same.png"), str(two / "same.png"))
    (one / "same.png").unlink()
    assert now(listed, one) == listed, "a folder that has nothing of it says nothing"
    assert now(listed, two)[same] == (str(two / "same.png"),)
    (two / "same.png").rename(two / "renamed.png")
    write(two / "same.png", png(2))
    listed = now(listed, two)
    assert listed[same] == (str(two / "renamed.png"),)
    assert listed[ingest.content_id(png(2))] == (str(two / "same.png"),)


def test_changed_content_under_a_known_path_is_new(folder: Path) -> None:
    known = listing(ingest.scan(ingest.discover(str(folder))))
    write(folder / "b.png", png(50))
    (row,) = ingest.ingest(ingest.discover(str(folder)), known=known).rows
    assert (row.uri, row.width) == (str(folder / "b.png"), 66)


def test_embedding_bytes(folder: Path) -> None:
    good, bad = ingest.scan([str(folder / "b.png"), str(folder / "notes.md")])
    assert ingest.with_bytes(good).bytes == png(0)
    assert ingest.with_bytes(bad) == bad
    write(folder / "b.png", png(1))
    with pytest.raises(ImageError, match="changed"):
        ingest.with_bytes(good)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_still_fits_a_column(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9 %20.png")).write_bytes(png(3))
    (row,) = ingest.scan(ingest.discover(str(tmp_path)))
    assert row.uri.startswith("file://")
    assert (row.width, row.error) == (19, None)
    assert pa.array([row.uri], pa.string())[0].as_py() == row.uri


def test_sample_is_spread_over_the_source(tmp_path: Path) -> None:
    for index in range(40):
        write(tmp_path / f"{index:02}.png", png(index))
    write(tmp_path / "00.md", b"words")
    widths = [image.width - 16 for image in ingest.sample(str(tmp_path), 4)]
    assert len(widths) == 4
    assert max(widths) >= 25
    assert min(widths) <= 10
    assert len(ingest.sample(str(tmp_path), 100)) == 40
