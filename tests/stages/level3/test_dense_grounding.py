from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    DENSE_CAPTION,
    DENSE_DRAFT,
    INSTANCES,
    LINKS,
)
from grand_pipeline.generation import Generation
from grand_pipeline.types import AssignedLabel, Attribute, DenseCaption, Instance, PhraseLink
from stages.level3.dense_grounding import DenseGrounding, Named
from tests.records import record_of

OBJECTS = (
    Named(0, True, "car", ("red",)),
    Named(1, True, "dog", ("brown",)),
    Named(4, True, "dog", ("black",)),
    Named(5, True, "tree", ()),
    Named(9, False, "kite", ("blue",)),
)
LINK = PhraseLink("an old tree", (5, 77), "blip")


def ground(answer: str, links: tuple[PhraseLink, ...] = (), **options: Any) -> DenseCaption:
    draft = Generation("prompt", answer, "llm", "stop")
    return DenseGrounding(**options).ground(draft, OBJECTS, links)


def said(caption: DenseCaption) -> list[tuple[str, tuple[int, ...]]]:
    return [(caption.text[s.start : s.end], s.object_ids) for s in caption.spans]


def test_references_become_spans_on_the_clean_text() -> None:
    found = ground(" <p>A red car</p>[0] stands  near <p>two dogs</p>[1][4] .\n")
    assert found.text == "A red car stands near two dogs."
    assert said(found) == [("A red car", (0,)), ("two dogs", (1, 4))]
    assert (found.source, found.finish_reason, found.verified) == ("llm", "stop", True)


@pytest.mark.parametrize(
    ("answer", "text", "spans"),
    [
        ("<p>a dog</p>[1][3] runs", "a dog runs", [("a dog", (1,))]),
        ("<p>a dog</p>[3] runs", "a dog runs", []),
        ("<p>a dog</p>[0] runs", "a dog runs", []),
        ("<p>a dog</p>[0][1] runs", "a dog runs", [("a dog", (1,))]),
        ("<p>a dog</p> runs", "a dog runs", []),
        ("<p>a red car</p>[0] <p>x", "a red car x", [("a red car", (0,))]),
        ("<p>a brown car</p>[0]", "a brown car", [("a brown car", (0,))]),
        ("<p>a dog and a car</p>[0][1], [2]", "a dog and a car,", [("a dog and a car", (0, 1))]),
    ],
)
def test_wrong_references_are_dropped_and_not_verified(
    answer: str, text: str, spans: list[tuple[str, tuple[int, ...]]]
) -> None:
    found = ground(answer)
    assert (found.text, said(found)) == (text, spans)
    assert not found.verified


@pytest.mark.parametrize(
    "answer",
    [
        "<p>a vehicle</p>[0]",
        "<p>It</p>[5]",
        "<p>a large red car by a dog</p>[0]",
        "<p>kites</p>[9]",
    ],
)
def test_broader_words_agree(answer: str) -> None:
    assert ground(answer).verified


def test_plain_text_is_matched() -> None:
    found = ground("A red car and a brown dog; the dogs see the car. An old tree.", (LINK,))
    assert said(found) == [
        ("A red car", (0,)),
        ("a brown dog", (1,)),
        ("the dogs", (1, 4)),
        ("the car", (0,)),
        ("An old tree", (5,)),
    ]
    assert not found.verified


def test_matching_needs_a_unique_object() -> None:
    assert said(ground("a dog and a kite")) == []


def test_plurals_of_a_unique_object_are_not_matched() -> None:
    assert said(ground("cars and trees")) == []


def test_matching_beside_references_only_when_asked() -> None:
    answer = "<p>a dog</p>[1] and a red car"
    assert said(ground(answer)) == [("a dog", (1,))]
    assert said(ground(answer, match="always")) == [("a dog", (1,)), ("a red car", (0,))]
    assert said(ground("a red car", match="never")) == []


def test_empty_answer() -> None:
    assert ground("") == DenseCaption("", (), "llm", "stop", False)


def test_annotate_takes_assigned_labels_and_attributes() -> None:
    values = {
        DENSE_DRAFT: Generation("prompt", "a pink lorry", "llm", "length"),
        INSTANCES: (Instance(2, "object", "thing", (0, 0, 1, 1), 0.5, "car"),),
        ASSIGNED: (AssignedLabel(2, "Lorry", 1.0),),
        ATTRIBUTES.of("color"): (Attribute(2, "color", "Pink"),),
        LINKS: (),
    }
    (row,) = DenseGrounding().annotate(None, [record_of(values)])
    caption = row[DENSE_CAPTION]
    assert said(caption) == [("a pink lorry", (2,))]
    assert caption.finish_reason == "length"


PARTS = st.lists(
    st.sampled_from(
        [
            *("<p>", "</p>", "[0]", "[1][4]", "[99]", "[0,1]", "a red car", "two dogs", "<p", " "),
            *("e", "\u0301", ".", "\n", "<", "]", "[", "an old tree", "cafe\u0301", "the dogs"),
        ]
    ),
    max_size=14,
)


@given(PARTS, st.sampled_from(["plain", "always", "never"]))
def test_invariants(parts: list[str], match: str) -> None:
    found = ground("".join(parts), (LINK,), match=match)
    assert unicodedata.is_normalized("NFC", found.text)
    assert "<p>" not in found.text
    assert "[0]" not in found.text
    ids = {named.id for named in OBJECTS}
    for span in found.spans:
        cut = found.text[span.start : span.end]
        assert cut and cut == cut.strip()
        assert span.object_ids and set(span.object_ids) <= ids
    assert all(a.end <= b.start for a, b in pairwise(found.spans))
    if found.verified:
        assert found.spans
