from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline.errors import SourceError
from grand_pipeline.geometry import rle_decode
from grand_pipeline.importers import values
from grand_pipeline.importers.notes import Notes
from grand_pipeline.types import Size
from tests.importers.raw_world import mask

SIZE: Size = (100, 200)
NAN, ENDLESS = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        ([1, 2, 3, 4.5], SIZE, (1.0, 2.0, 3.0, 4.5)),
        ([-5, -1, 300, 120], SIZE, (0.0, 0.0, 200.0, 100.0)),
        ([-5, -1, 300, 120], None, (0.0, 0.0, 300.0, 120.0)),
    ],
)
def test_boxes_end_inside_their_image(
    given: list[float], size: Size | None, expected: tuple[float, ...]
) -> None:
    notes = Notes()
    assert values.box(given, size, notes) == expected
    assert notes.counts["boxes cut to the image"] == (given[0] < 0)


@pytest.mark.parametrize(
    "given",
    [
        *(None, "1,2,3,4", [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, NAN], [1, 2, ENDLESS, 4]),
        *([3, 3, 1, 1], [1, 1, 1, 5], [300, 10, 400, 20], [1, 2, 10**400, 4], [True, 0, 5, 5]),
        *([100, 1, 100.0000001, 5], [0, 0, 1e39, 5]),
    ],
)
def test_what_is_no_box_is_counted(given: Any) -> None:
    notes = Notes()
    assert values.box(given, SIZE, notes) is None
    assert sum(notes.counts.values()) == 1


def test_masks_come_as_text_or_as_runs_and_must_fill_their_image() -> None:
    notes = Notes()
    box = [10.0, 20.0, 90.0, 80.0]
    coded = values.rle(mask(box), SIZE, notes)
    assert coded is not None and rle_decode(coded)[20:80, 10:90].all()
    runs = values.rle({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3), notes)
    assert runs is not None
    assert rle_decode(runs).T.ravel().tolist() == [False, True, True, False, False, False]
    assert values.rle(None, SIZE, notes) is None
    assert not notes.counts


@pytest.mark.parametrize(
    "given",
    [
        *({}, [], {"size": [100, 200]}, {"size": [100, 200], "counts": "01"}),
        *({"size": [100, 200], "counts": "\u00e9"}, {"size": [100, 200], "counts": "oo"}),
        *({"size": ["a", 2], "counts": "01"}, {"size": [100, 200], "counts": [5, "x"]}),
        *({"size": [100, 200], "counts": [10**10]}, mask([0, 0, 5, 5], (50, 50))),
    ],
)
def test_masks_that_do_not_fit_are_counted(given: Any) -> None:
    notes = Notes()
    assert values.rle(given, SIZE, notes) is None
    assert notes.counts == {"masks that do not fit their image, left out": 1}


def test_broken_characters_do_not_stop_a_text() -> None:
    notes = Notes()
    assert values.words(json.loads('"a \\ud800 dog"'), notes, "label") == "a ? dog"
    assert values.words("  ", notes, "label") is None
    assert values.words(None, notes, "label") is None
    assert notes.counts == {"labels with broken characters": 1, "labels that are no text": 1}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{'a': 1}"])
def test_what_is_no_json_names_its_file(text: str) -> None:
    with pytest.raises(SourceError, match=r"'some\.json' is not valid JSON"):
        values.parse(text, Path("some.json"))


def test_what_is_no_text_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(SourceError, match=r"a\.json': No such file"):
        values.read_text(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(SourceError, match=r"a\.json' is not UTF-8"):
        values.read_text(path)
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert values.read_text(path) == "{}"
