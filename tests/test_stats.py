"""Statistics of a run."""

from __future__ import annotations

import json

from grand_pipeline.columns import ImageRow, StageError
from grand_pipeline.stats import stats, text
from grand_pipeline.types import Caption, PhraseLink, Vote
from tests.evaluation.rows import dense, related, row, scenes, thing

BOX = (0.0, 0.0, 20.0, 20.0)


def _image(name: str, error: str | None = None, duplicates: tuple[str, ...] = ()) -> ImageRow:
    return ImageRow(name, name, duplicates, 8, 8, "PNG", error, None)


def test_counts() -> None:
    agreed = (Vote("one", "dog", 0.9), Vote("two", "dog", 0.9))
    split = (Vote("one", "dog", 0.9), Vote("two", "cat", 0.9))
    rows = [
        row(
            thing(0, "dog", BOX, color="red", votes=agreed, mask_source="auto"),
            thing(1, "dog", BOX, votes=split, status="floating", mask=None),
            thing(2, "sky", BOX, votes=(Vote("one", "sky", 0.9),), kind="stuff"),
            captions=(Caption("blip", "a dog here", ()),),
            phrases=(PhraseLink("a dog", (0,), "blip"), PhraseLink("here", (), "blip")),
            relations=related((0, "in", 2)),
            dense_caption=dense("A dog.", dog=0),
        ),
        row(errors=(StageError("depth", "no"),)),
    ]
    images = [_image("a", duplicates=("b", "c")), _image("d"), _image("e", "truncated: at 17")]
    report = stats(rows, images)
    assert report["images"] == {
        "distinct": 3,
        "annotated": 2,
        "duplicates": 2,
        "dropped": {"truncated": 1},
    }
    objects = report["objects"]
    assert objects["status"] == {"object": 2, "floating": 1}
    assert objects["labels"] == {"dog": 2, "sky": 1}
    assert objects["per_image"] == {"mean": 1.5, "min": 0, "median": 3, "max": 3}
    assert objects["attributes"] == {"red": 1}
    assert report["masks"] == {"share": 2 / 3, "source": {"auto": 1, "box": 1}}
    assert report["votes"] == {
        "by_sources": {"one + two": 2, "one": 1},
        "by_several_share": 2 / 3,
        "same_label_share": 0.5,
    }
    assert report["texts"]["caption (blip)"]["mean"] == 3
    assert report["grounding"]["phrases_linked"] == 1
    assert report["relations"] == {"total": 1, "predicates": {"in": 1}}
    assert report["errors"] == {"by_stage": {"depth": 1}}


def test_reasons_are_grouped_without_their_details() -> None:
    images = [
        _image("a", "too small: 3 x 4; each side needs 8 pixels"),
        _image("b", "too small: 5 x 5; each side needs 8 pixels"),
        _image("c", "cannot read 'x.png': gone"),
        _image("d", "cannot read 'y.png': gone"),
    ]
    assert stats([], images)["images"]["dropped"] == {"too small": 2, "cannot read ...": 2}


def test_an_empty_run() -> None:
    report = stats([], [])
    assert report["objects"]["per_image"] is None
    assert report["masks"]["share"] is None
    assert "annotated" in text(report)


def test_json_and_table_of_scenes() -> None:
    rows, _ = scenes()
    report = stats(rows, [])
    json.dumps(report)
    lines = text(report).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert any(line.split() == ["annotated", "4"] for line in lines)


def test_only_the_commonest_labels_are_listed() -> None:
    rows = [row(*(thing(n, f"label {n % 30}", BOX) for n in range(60)))]
    report = stats(rows, [])
    assert len(report["objects"]["labels"]) == 20
    assert report["objects"]["distinct_labels"] == 30
