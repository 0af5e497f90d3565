"""Phrases of a parsed text, and likeness of phrases."""

from __future__ import annotations

import pytest

from grand_pipeline.grand_v1 import words
from tests.grand_v1.parsing import lemmas, parse


def texts(found: list[words.Found], text: str) -> list[tuple[str, str]]:
    return [(one.noun, text[one.start : one.end]) for one in found]


def test_a_phrase_is_a_noun_with_all_that_hangs_on_it() -> None:
    text = "a red car in the big park stands"
    assert texts(words.phrases(parse(text), text), text) == [
        ("car", "a red car in the big park"),
    ]


def test_inner_phrases_are_left_to_the_second_rule() -> None:
    text = "a red car in the big park."
    assert texts(words.plain_phrases(parse(text), text), text) == [
        ("car", "a red car in the big park"),
        ("park", "the big park"),
    ]


@pytest.mark.parametrize("text", ["a dog runs", "dog", "", "it runs"])
def test_an_article_and_a_noun_are_no_phrase(text: str) -> None:
    assert words.phrases(parse(text), text) == []


def test_a_phrase_ends_at_the_comma_behind_its_noun() -> None:
    text = "a big , red dog , in it"
    by_hand = [
        words.Word(w.text, w.pos, 4 if n < 4 or n == 5 else (4 if n == 6 else w.head), w.start)
        for n, w in enumerate(parse(text))
    ]
    assert texts(words.phrases(by_hand, text), text)[0] == ("dog", "a big , red dog")


def test_likeness_is_the_share_of_the_shorter_ones_lemmas() -> None:
    assert words.similarity("the big red dog", "a red dog in the garden", lemmas) == 2 / 3
    assert words.similarity("cat", "a red dog", lemmas) == 0.0
    assert words.similarity("red dog", "a red dog runs", lemmas) == 1.0


def test_d7_part_of_a_word_is_a_perfect_match() -> None:
    assert words.similarity("a", "cats", lemmas) == 0.0
    assert words.similarity("a", "cats", lemmas, ("D7",)) == 1.0
    assert words.similarity("", "cats", lemmas, ("D7",)) == 1.0
