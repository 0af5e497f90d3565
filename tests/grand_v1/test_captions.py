"""Spans of short captions."""

from __future__ import annotations

from grand_pipeline.grand_v1 import captions
from grand_pipeline.types import Phrase, PhraseLink, Span

TEXT = "a Dog and a dog by a car"
LINK = PhraseLink("a Dog", (3, 1), "blip2")


def test_links_are_per_caption_and_text() -> None:
    phrases = [Phrase("blip2", "a Dog", "Dog", 0, 5), Phrase("llava", "a dog", "dog", 3, 8)]
    keys = {"a Dog": "a dog", "a dog": "a dog"}
    assert captions.links(phrases, {"a dog": (1,)}, keys) == (
        PhraseLink("a Dog", (1,), "blip2"),
        PhraseLink("a dog", (1,), "llava"),
    )
    assert captions.links(phrases, {}, keys) == ()


def test_d8_one_occurrence_one_object_and_only_in_lower_case() -> None:
    meant = captions.ground("blip2", TEXT, [LINK])
    assert meant.spans == (Span(0, 5, (3, 1)), Span(10, 15, (3, 1)))
    assert captions.ground("blip2", TEXT, [LINK], ("D8",)).spans == (Span(10, 15, (1,)),)


def test_spans_are_whole_words_and_may_overlap() -> None:
    links = [PhraseLink("a car", (0,), "b"), PhraseLink("a dog by a car", (1,), "b")]
    found = captions.ground("b", "a dog by a car and cars", links).spans
    assert found == (Span(0, 14, (1,)), Span(9, 14, (0,)))
