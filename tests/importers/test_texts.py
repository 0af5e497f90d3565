from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.importers import texts


@pytest.mark.parametrize(
    ("text", "plain", "spoken"),
    [
        ("Assistant: a dog", "a dog", True),
        ("istant: a dog", "a dog", True),
        ("ASSISTANT : a dog: brown", "a dog: brown", True),
        ("### Assistant: a dog", "a dog", True),
        ("istant: ", "", True),
        (" a dog ", "a dog", False),
        ("sign: no dogs", "sign: no dogs", False),
        ("t: a dog", "t: a dog", False),
    ],
)
def test_speakers_are_taken_off(text: str, plain: str, spoken: bool) -> None:
    assert texts.without_speaker(text) == (plain, spoken)


@pytest.mark.parametrize(
    ("phrase", "given", "expected", "held"),
    [
        ("a dog", [0, 5], (0, 5), True),
        ("a DOG", [0, 5], (0, 5), True),
        ("a dog", [3, 8], (0, 5), False),
        ("a dog", [20, 25], (22, 27), False),
        ("a dog", None, (0, 5), False),
        ("a dog", [0, 500], (0, 5), False),
        ("a dog", [-3, 2], (0, 5), False),
        ("the man 's  hat", [0, 1], (33, 46), False),
        ("a cat", [0, 5], None, False),
        ("?", [0, 0], None, False),
    ],
)
def test_offsets_are_believed_where_they_hold(
    phrase: str, given: object, expected: tuple[int, int] | None, held: bool
) -> None:
    text = "a dog sees a bone and A dog sees the man's hat"
    assert texts.place(text, phrase, given) == (expected, held)


@given(st.text(), st.text(max_size=8), st.lists(st.integers(-3, 30), max_size=3))
def test_a_place_always_holds_the_phrase(text: str, phrase: str, given: list[int]) -> None:
    place, _ = texts.place(text, phrase, given)
    if place is not None:
        start, end = place
        assert 0 <= start < end <= len(text)
