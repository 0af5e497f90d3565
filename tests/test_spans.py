from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.spans import (
    find_all,
    joined,
    locate,
    longest_first,
    with_determiner,
    without_overlaps,
)
from grand_pipeline.types import Span


def test_find_all_is_whole_words_of_any_case() -> None:
    text = "A dog, a  Dog and a dogma"
    assert [text[s:e] for s, e in find_all(text, "a dog")] == ["A dog", "a  Dog"]
    assert find_all(text, "  ") == []
    assert find_all("1.5 (x)", "(x)") == [(4, 7)]


MARKS = st.sampled_from(
    [
        "a",
        "A dog",
        "the",
        "dogma",
        "red_",
        "b ",
        " ",
        "  ",
        "\n",
        ".",
        "(x)",
        "\u212a",
        "caf\u00e9",
        "_",
    ]
)


@given(st.lists(MARKS, max_size=9).map("".join), st.lists(MARKS, max_size=3).map("".join))
def test_find_all_finds_what_a_pattern_finds(text: str, phrase: str) -> None:
    words = r"\s+".join(map(re.escape, phrase.split()))
    pattern = re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
    wanted = [match.span() for match in pattern.finditer(text)] if words else []
    assert find_all(text, phrase) == wanted


@pytest.mark.parametrize(
    ("before", "start"),
    [
        ("see the ", 4), ("see The\n ", 4), ("two ", 0), ("bathe ", 6), ("_an ", 4), ("a", 1),
        ("", 0), ("an an ", 3), ("dog ", 4), ("caf\u00e9a ", 6),
    ],
)  # fmt: skip
def test_a_determiner_is_a_whole_word_right_before(before: str, start: int) -> None:
    assert with_determiner(before + "dog", len(before)) == start


def test_locate_takes_the_nearest_exact_occurrence() -> None:
    text = "a car, a car, A car"
    assert locate(text, "a car", 0) == (0, 5)
    assert locate(text, "a car", 6) == (7, 12)
    assert locate(text, "A car", 0) == (14, 19)
    assert locate(text, "a bus", 0) is None
    assert locate(text, "", 0) is None


def test_with_determiner() -> None:
    assert with_determiner("see the dog", 8) == 4
    assert with_determiner("see bathe dog", 10) == 10
    assert with_determiner("dog", 0) == 0


def test_overlaps_go_to_the_first_in_the_input() -> None:
    nested, outer, after = Span(2, 5, (1,)), Span(0, 9, (2,)), Span(9, 12, (3,))
    assert without_overlaps([nested, outer, after]) == (nested, after)
    assert without_overlaps(longest_first([nested, outer, after])) == (outer, after)
    assert without_overlaps([outer], taken=[nested]) == (nested,)


def test_spans_without_objects_or_letters_are_dropped() -> None:
    assert without_overlaps([Span(0, 0, (1,)), Span(0, 3, ()), Span(5, 4, (1,))]) == ()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))))
def test_without_overlaps_invariants(raw: list[tuple[int, int, int]]) -> None:
    kept = without_overlaps(Span(start, end, (i,)) for start, end, i in raw)
    assert all(a.end <= b.start for a, b in pairwise(kept))
    assert all(0 <= span.start < span.end for span in kept)


def test_joined_cleans_blanks_around_marks() -> None:
    text, spans = joined(
        [("  ", ()), (" a  red car ", (0,)), (" and ", ()), ("a dog", (1, 2)), (" .  Fine ", ())]
    )
    assert text == "a red car and a dog. Fine"
    assert [(text[s.start : s.end], s.object_ids) for s in spans] == [
        ("a red car", (0,)),
        ("a dog", (1, 2)),
    ]


def test_joined_text_is_nfc_across_pieces() -> None:
    text, spans = joined([("cafe", (0,)), ("\u0301 bar", ()), (" x", (1,))])
    assert unicodedata.is_normalized("NFC", text)
    assert [(text[s.start : s.end], s.object_ids) for s in spans] == [("x", (1,))]


PIECES = st.lists(
    st.tuples(
        st.text(alphabet=st.sampled_from("ab .,\n\t!e\u0301\u1100\u1161"), max_size=6),
        st.sampled_from([(), (0,), (1, 2)]),
    ),
    max_size=8,
)


@given(PIECES)
def test_joined_invariants(pieces: list[tuple[str, tuple[int, ...]]]) -> None:
    text, spans = joined(pieces)
    assert unicodedata.is_normalized("NFC", text)
    assert text == text.strip()
    assert "  " not in text
    said = [unicodedata.normalize("NFC", " ".join(piece.split())) for piece, _ in pieces]
    for span in spans:
        cut = text[span.start : span.end]
        assert cut and cut == cut.strip() and cut in said
    assert all(a.end <= b.start for a, b in pairwise(spans))
