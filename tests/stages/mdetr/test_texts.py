"""Characters to tokens. The tiny tokenizer knows " dog" and " cat"; other letters and bytes are
tokens of their own."""

from pathlib import Path

import pytest

from grand_pipeline.errors import SettingsError
from stages.mdetr import texts
from stages.mdetr.texts import Reader, Text
from tests.tiny.words import roberta_tokenizer

TOKENIZER = roberta_tokenizer()


def reader(room: int = 62) -> Reader:
    return Reader(TOKENIZER, room)


def span(caption: str, phrase: str) -> tuple[int, int]:
    start = caption.index(phrase)
    return start, start + len(phrase)


def said(text: Text, part: int = 0) -> str:
    """What the tokens of a phrase spell."""
    spelled: str = TOKENIZER.decode([text.ids[n] for n in text.parts[part]])
    return spelled.strip()


@pytest.mark.parametrize(
    ("caption", "phrase"),
    [
        ("A dog, a cat", "A dog"),
        ("A dog, a cat", "a cat"),
        ("zwei große Hunde", "große Hunde"),
        ("a café  and a dog", "café"),
        ("日本の犬 dog", "犬"),
        ("see 🐶 and 🐱🐱 there", "🐱🐱"),
        ("see 👩‍👩‍👧 there", "👩‍👩‍👧"),
        ("\na dog\t", "a dog"),
        ("dog", "dog"),
    ],
)
def test_tokens_of_a_phrase_spell_it(caption: str, phrase: str) -> None:
    (text,) = reader().of_caption(caption, [span(caption, phrase)])
    assert said(text) == phrase
    assert text.ids[0] == 0 and text.ids[-1] == 2 and text.numbers == (0,)
    assert list(text.ids) == TOKENIZER(caption)["input_ids"]
    start, end = span(caption, phrase)
    (alone,) = reader().of_phrases(caption, [(start, end)])
    assert list(alone.ids) == TOKENIZER(caption[start:end])["input_ids"]


def test_a_phrase_inside_a_token_is_that_token() -> None:
    (text,) = reader().of_caption("a dog", [(3, 4)])
    assert said(text) == "dog"


def test_phrases_without_a_token_have_no_place() -> None:
    assert reader().of_caption("a  dog", [(1, 2), (3, 3)]) == []
    assert reader().of_caption("", []) == reader().of_phrases("a dog", []) == []
    (text,) = reader().of_caption("a  dog", [(1, 2), (3, 6)])
    assert text.numbers == (1,)
    assert [t.numbers for t in reader().of_phrases("a dog", [(2, 2), (2, 5)])] == [(1,)]


def test_a_long_caption_is_cut_between_its_sentences() -> None:
    caption = "A dog runs. A cat sits! Who? " * 3
    spans = [span(caption, "A dog"), span(caption, "A cat"), (58, 63)]
    found = reader(30).of_caption(caption, spans)
    assert all(len(text.ids) <= 32 for text in found)
    assert [text.numbers for text in found] == [(0, 1), (2,)]
    assert [[said(t, n) for n in range(len(t.parts))] for t in found] == [
        ["A dog", "A cat"],
        ["A dog"],
    ]
    assert TOKENIZER.decode(found[0].ids[1:-1]).strip() == "A dog runs. A cat sits! Who?"


def test_a_long_sentence_is_cut_between_words_and_no_phrase_is_torn() -> None:
    caption = "one thing and another big red thing and more of it"
    spans = [span(caption, "another big red thing")]
    (text,) = reader(25).of_caption(caption, spans)
    assert said(text) == "another big red thing"
    words = TOKENIZER.decode(text.ids[1:-1]).split()
    assert set(words) <= set(caption.split())


def test_a_phrase_longer_than_the_room_is_known_by_its_beginning() -> None:
    caption = "abcdefghij" * 2
    (text,) = reader(8).of_caption(caption, [(0, 20)])
    assert said(text) == "abcdefgh"
    (alone,) = reader(8).of_phrases(caption, [(0, 20)])
    assert alone == text


def test_the_tokenizer_has_to_be_that_of_the_model(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    found = texts.reader(str(tmp_path), len(TOKENIZER), 9, "the model")
    assert found.of_phrases("a dog", [(0, 5)])[0].ids == (0, 68, 262, 2)
    with pytest.raises(SettingsError, match=r"knows 50265 tokens.* has 267"):
        texts.reader(str(tmp_path), 50265, 9, "the model")


def test_a_tokenizer_that_is_nowhere_is_named() -> None:
    with pytest.raises(SettingsError, match="/nowhere/roberta"):
        texts.reader("/nowhere/roberta", 267, 9, "the model")
