from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import references
from grand_pipeline.references import Answer, Piece
from grand_pipeline.structured import SCHEMA, meant_as_json, parse, read


def answer(caption: str, *mentions: tuple[str, list[Any]]) -> str:
    listed = [{"phrase": phrase, "objects": ids} for phrase, ids in mentions]
    return json.dumps({"caption": caption, "mentions": listed})


def marked(text: str) -> list[tuple[str, tuple[int, ...] | None]]:
    found = parse(text)
    assert found is not None
    return [(piece.text, piece.ids) for piece in found.pieces]


def test_mentions_cut_the_caption_into_pieces() -> None:
    text = answer("A red car near two dogs.", ("A red car", [0]), ("two dogs", [1, 4, 1]))
    assert parse(text) == Answer(
        (Piece("A red car", (0,)), Piece(" near "), Piece("two dogs", (1, 4)), Piece(".")), True
    )
    assert read(text) == parse(text) == parse(f"```json\n{text}\n```")


def test_equal_phrases_are_found_one_after_the_other() -> None:
    text = answer("a dog and a dog", ("a dog", [1]), ("a dog", [2]))
    assert marked(text) == [("a dog", (1,)), (" and ", None), ("a dog", (2,))]


def test_mentions_out_of_order_are_found_too() -> None:
    text = answer("a dog and a cat", ("a cat", [2]), ("A dog", [1]))
    assert marked(text) == [("a dog", (1,)), (" and ", None), ("a cat", (2,))]


@pytest.mark.parametrize(
    ("caption", "mentions"),
    [
        ("a dog", (("a cat", [1]),)),
        ("a dog", (("a dog", [1]), ("dog", [2]))),
        ("a dog", (("do", [1]),)),
        ("a dog", (("", [1]),)),
        ("<p>a dog</p>[1]", (("a dog", [1]),)),
        ("a dog[1]", (("a dog", [1]),)),
    ],
)
def test_what_can_not_be_placed_is_not_clean(
    caption: str, mentions: tuple[tuple[str, list[int]], ...]
) -> None:
    found = parse(answer(caption, *mentions))
    assert found is not None and not found.clean


@pytest.mark.parametrize(
    "text",
    [
        '{"caption": "a dog"',
        '{"caption": "a dog"}',
        '{"caption": "a dog", "mentions": [{"phrase": "a dog"}]}',
        '{"caption": "a dog", "mentions": [{"phrase": "a dog", "objects": ["x"]}]}',
        '{"caption": "a dog", "mentions": [{"phrase": "a dog", "objects": [true]}]}',
        '{"caption": "a dog", "mentions": 3}',
    ],
)
def test_other_objects_are_no_answer(text: str) -> None:
    assert parse(text) is None and meant_as_json(text)


@pytest.mark.parametrize("text", ["", "A dog.", "<p>a dog</p>[1]", "[1, 2]", "3"])
def test_other_text_is_read_as_references(text: str) -> None:
    assert parse(text) is None and not meant_as_json(text)
    assert read(text) == references.parse(text)


def test_the_schema_is_json() -> None:
    assert set(json.loads(SCHEMA)["properties"]) == {"caption", "mentions"}


def test_marks_do_not_stay_in_the_text() -> None:
    found = marked(answer("<p>a dog</p>[1] runs", ("a dog", [1])))
    assert found == [("a dog", (1,)), (" runs", None)]


@given(
    st.text(st.characters(exclude_characters="<["), max_size=30),
    st.lists(st.tuples(st.text(max_size=8), st.lists(st.integers()))),
)
def test_no_character_is_lost(caption: str, mentions: list[tuple[str, list[int]]]) -> None:
    found = parse(answer(caption, *mentions))
    assert found is not None
    assert "".join(piece.text for piece in found.pieces) == caption
