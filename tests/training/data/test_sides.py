from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.types import Span
from training.data import sides, transforms


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("a cat left of a dog", "a cat right of a dog"),
        ("On the Left, RIGHT of it", "On the Right, LEFT of it"),
        ("the leftmost tree and a right-hand door", "the rightmost tree and a left-hand door"),
        ("on its left-hand side", "on its right-hand side"),
        ("a bright light, upright", "a bright light, upright"),
        ("right next to the chair", "right next to the chair"),
        ("left behind", "left behind"),
        ("leftover food", "leftover food"),
        ("top-left corner", "top-right corner"),
    ],
)
def test_words_for_sides(text: str, mirrored: str) -> None:
    assert sides.mirrored(text) == mirrored
    assert sides.mirrored(mirrored) == text
    assert sides.says_side(text) == (text != mirrored)


WORDS = st.lists(st.sampled_from(("left", "Right", "of", "the", "ball", "right-hand")), min_size=1)


@given(WORDS, st.data())
def test_spans_of_words_hold_the_mirrored_words(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    start = len(" ".join(words[:first])) + (first > 0)
    end = start + len(" ".join(words[first : last + 1]))
    swapped, (span,) = sides.mirrored_spans(text, [Span(start, end, (0,))])
    assert swapped == sides.mirrored(text)
    assert swapped[span.start : span.end] == sides.mirrored(text[start:end])


@given(st.text(alphabet="left righ-", max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_any_span_stays_inside_of_the_text(text: str, a: int, b: int) -> None:
    start, end = sorted((min(a, len(text)), min(b, len(text))))
    swapped, (span,) = sides.mirrored_spans(text, [Span(start, end, (0,))])
    assert 0 <= span.start <= span.end <= len(swapped)


def test_a_recipe_may_ask_whether_any_text_names_a_side() -> None:
    assert transforms.says_side(["a dog", "the left dog"])
    assert not transforms.says_side(["a dog", "the brightest dog"])
