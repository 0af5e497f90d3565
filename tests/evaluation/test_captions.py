"""Mentions, links of phrases, and spans."""

from __future__ import annotations

import pytest

from grand_pipeline.columns import Annotation, PublishedObject
from grand_pipeline.evaluation.captions import mention_scores, phrase_scores, span_scores
from grand_pipeline.evaluation.lexicon import picturebook_lexicon
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import pair
from grand_pipeline.types import Caption, PhraseLink, Span
from tests.evaluation.rows import dense, row, spans, thing

LEXICON = picturebook_lexicon()
DOG, CAT, BALL = (0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 50.0, 20.0), (0.0, 40.0, 30.0, 60.0)
OBJECTS = (
    thing(0, "dog", DOG, color="red"),
    thing(1, "dog", CAT, color="blue"),
    thing(2, "ball", BALL, color="red"),
)
TRUE = row(*OBJECTS)


def _said(
    text: str, *objects: PublishedObject, links: tuple[PhraseLink, ...] = (), **phrases: int
) -> Annotation:
    caption = Caption("blip", text, spans(text, **phrases))
    return row(*(objects or OBJECTS), captions=(caption,), phrases=links)


def _phrases(ours: Annotation) -> Scores:
    return phrase_scores([pair(ours, TRUE, LEXICON)], LEXICON)


def test_the_color_decides_which_object_is_meant() -> None:
    assert _phrases(_said("a red dog", a_red_dog=0))["phrases.accuracy"] == 1.0
    assert _phrases(_said("a red dog", a_red_dog=1))["phrases.accuracy"] == 0.0
    assert _phrases(_said("a dog", a_dog=1))["phrases.accuracy"] == 1.0


def test_a_hypernym_means_any_object_of_its_kind() -> None:
    assert _phrases(_said("an animal", an_animal=1))["phrases.accuracy"] == 1.0
    assert _phrases(_said("an animal", an_animal=2))["phrases.accuracy"] == 0.0


def test_a_phrase_without_link_is_wrong_if_its_object_was_found() -> None:
    assert _phrases(_said("a red dog"))["phrases.accuracy"] == 0.0


def test_a_phrase_without_link_is_left_out_if_its_object_was_not_found() -> None:
    scores = _phrases(_said("a red dog", OBJECTS[2]))
    assert (scores["phrases.accuracy"], scores["phrases.undetected"]) == (None, 1.0)


def test_phrases_about_nothing_there_are_unanswerable() -> None:
    scores = _phrases(_said("a green dog and a sunny day", a_green_dog=0, a_sunny_day=1))
    assert (scores["phrases.accuracy"], scores["phrases.unanswerable"]) == (None, 2.0)


def test_links_without_spans_are_used() -> None:
    link = PhraseLink("a red dog", (0,), "blip")
    assert _phrases(_said("a red dog", links=(link,)))["phrases.accuracy"] == 1.0


def test_one_wrong_object_among_several_is_wrong() -> None:
    ours = row(*OBJECTS, captions=(Caption("blip", "two dogs", (Span(0, 8, (0, 1)),)),))
    assert _phrases(ours)["phrases.accuracy"] == 1.0
    ours = row(*OBJECTS, captions=(Caption("blip", "two dogs", (Span(0, 8, (0, 2)),)),))
    assert _phrases(ours)["phrases.accuracy"] == 0.0


def _mentions(*texts: str) -> Scores:
    captions = tuple(Caption(f"c{n}", text, ()) for n, text in enumerate(texts))
    return mention_scores([pair(row(captions=captions), TRUE, LEXICON)], LEXICON)


def test_mention_precision() -> None:
    assert _mentions("a dog, a puppy and a cat")["captions.mention_precision"] == 0.5
    assert _mentions("a toy and a vehicle")["captions.mention_precision"] == 0.5


def test_mention_recall_is_of_all_captions_together() -> None:
    assert _mentions("a dog")["captions.mention_recall"] == pytest.approx(2 / 3)
    assert _mentions("a dog", "a ball")["captions.mention_recall"] == 1.0
    assert _mentions()["captions.mention_recall"] == 0.0


def test_what_a_true_caption_reaches_is_told() -> None:
    true = row(*OBJECTS, captions=(Caption("truth", "a ball", ()), Caption("truth", "a dog", ())))
    scores = mention_scores([pair(row(), true, LEXICON)], LEXICON)
    assert scores["captions.mention_recall_truth"] == pytest.approx(1 / 3)


def test_stuff_is_judged_apart() -> None:
    scores = _mentions("the sky")
    assert (scores["captions.mention_precision"], scores["captions.stuff_precision"]) == (None, 0.0)


def _valid(ours: Annotation) -> float | None:
    return span_scores([pair(ours, TRUE, LEXICON)])["spans.valid"]


def _spanned(start: int, end: int, owner: int = 0, phrase: str = "a dog") -> Annotation:
    caption = Caption("blip", "see a dog", (Span(start, end, (owner,)),))
    return row(*OBJECTS, captions=(caption,), phrases=(PhraseLink(phrase, (0,), "blip"),))


def test_a_valid_span() -> None:
    assert _valid(_spanned(4, 9)) == 1.0


@pytest.mark.parametrize(
    "bad",
    [
        _spanned(4, 12),
        _spanned(-1, 3),
        _spanned(5, 5),
        _spanned(4, 8),
        _spanned(6, 9),
        _spanned(4, 9, owner=9),
        _spanned(0, 3),
    ],
)
def test_invalid_spans(bad: Annotation) -> None:
    assert _valid(bad) == 0.5


@pytest.mark.parametrize("phrase", ["a do", "a cat", "dog a"])
def test_a_phrase_that_is_not_in_its_caption(phrase: str) -> None:
    link = PhraseLink(phrase, (0,), "blip")
    assert _valid(_said("a dog", links=(link,))) == 0.0


def test_a_link_to_no_object() -> None:
    assert _valid(_said("a dog", links=(PhraseLink("a dog", (8,), "blip"),))) == 0.0


def test_spans_of_the_dense_caption_count() -> None:
    assert _valid(row(*OBJECTS, dense_caption=dense("a dog and a ball", a_dog=0, ball=9))) == 0.5
