from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline.columns import ImageRow
from grand_pipeline.errors import SourceError
from grand_pipeline.importers import files
from grand_pipeline.importers.notes import Notes
from tests.importers.raw_world import write


def row(image_id: str, uri: str, *duplicates: str) -> ImageRow:
    return ImageRow(image_id, uri, duplicates, 10, 10, "PNG", None, None)


NAMES = files.names_of(
    [
        row("1", "/pictures/sa_1.jpg", "/pictures/copy.jpg"),
        row("2", "s3://bucket/photo.jpeg"),
        row("3", "/a/same.png"),
        row("4", "/b/same.png"),
        row("5", "/a/both.jpg"),
        row("6", "/a/both.png"),
    ]
)


def found(name: str | None, stem: str) -> files.Found:
    return files.Found(Path(f"{stem}.json"), name, stem, "")


@pytest.mark.parametrize(
    ("name", "stem", "ids"),
    [
        ("sa_1.jpg", "sa_1", ("1",)),
        ("copy.jpg", "copy", ("1",)),
        ("sa_1", "sa_1", ("1",)),
        (None, "sa_1", ("1",)),
        ("folder/sa_1.jpg", "x", ("1",)),
        ("sa_1.png", "sa_1", ("1",)),
        ("photo.jpeg", "photo.", ("2",)),
        (None, "photo.", ("2",)),
        (None, "photo", ("2",)),
        ("both.png", "both", ("6",)),
        (None, "both", ("5", "6")),
        ("same.png", "same", ("3", "4")),
        ("other.jpg", "other", ()),
        ("other.jpg", "sa_1", ("1",)),
    ],
)
def test_images_are_found_by_full_name_first_then_without_ending(
    name: str | None, stem: str, ids: tuple[str, ...]
) -> None:
    assert NAMES.ids(found(name, stem)) == ids


def test_files_that_fit_no_image_or_several_are_counted() -> None:
    notes = Notes()
    given = [
        *(found("sa_1.jpg", "a"), found(None, "sa_1"), found(None, "none"), found(None, "same")),
    ]
    assert list(files.matched(given, NAMES, "pomp", notes)) == ["1"]
    assert notes.counts == {
        "files of pomp of an image that has another file already, not imported": 1,
        "files of pomp without image, not imported": 1,
        "files of pomp of several images of one name, not imported": 1,
    }
    assert notes.places["files of pomp without image, not imported"] == ["none.json"]


def test_the_key_inside_names_the_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", ' {"caf\\u00e9 \\"1\\".jpg": {"pomp": []}}')
    assert files.found(path).name == 'caf\u00e9 "1".jpg'
    assert files.found(path, keyed=False).name is None
    assert files.found(write(tmp_path / "b.json", "[1]")).name is None
    assert files.found(path).digest != files.found(tmp_path / "b.json").digest


def test_a_file_has_one_image(tmp_path: Path) -> None:
    file = files.found(write(tmp_path / "a.json", {"x.jpg": {}, "y.jpg": {}}))
    with pytest.raises(SourceError, match=r"a\.json' should have one key.*'x\.jpg', 'y\.jpg'"):
        files.under_image(files.text_of(file), file)
    file = files.found(write(tmp_path / "b.json", {"x.jpg": []}))
    with pytest.raises(SourceError, match=r"b\.json' should be an object, not a list"):
        files.under_image(files.text_of(file), file)


def test_names_without_images_are_those_inside_and_the_rest_of_the_files() -> None:
    given = [
        *(found("a.jpg", "a"), found(None, "a"), found("a", "a"), found(None, "b")),
        *(found("c", "c"), found(None, "c")),
    ]
    assert files.image_names(given, Notes()) == ["a.jpg", "b", "c"]
