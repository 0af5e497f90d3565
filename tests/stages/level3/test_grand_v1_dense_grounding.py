from __future__ import annotations

from typing import Any

import pytest

from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    DENSE_CAPTION,
    DENSE_DRAFT,
    INSTANCES,
    LINKS,
    Column,
)
from grand_pipeline.generation import Generation
from grand_pipeline.types import AssignedLabel, Attribute, DenseCaption, Instance, PhraseLink, Vote
from stages.level3.grand_v1_dense_grounding import GrandV1DenseGrounding
from tests.records import record_of
from tests.stages.level2.test_grand_v1_phrases import ByHand

VALUES: dict[Column[Any], Any] = {
    INSTANCES: (
        Instance(
            0, "object", None, (0, 0, 20, 20), 0.9, "car",
            (Vote("owl", "car", 0.9), Vote("grit", "a parked car", 0.5)),
        ),
        Instance(4, "object", None, (0, 0, 50, 50), 0.8, "dog", (Vote("owl", "dog", 0.9),)),
        Instance(5, "floating", None, (0, 0, 9, 9), None, "a kite"),
    ),
    ASSIGNED: (AssignedLabel(0, "car", 1.0), AssignedLabel(4, "dog", 1.0)),
    ATTRIBUTES.of("siglip"): (Attribute(4, "siglip", "brown"), Attribute(0, "siglip", "red")),
    LINKS: (PhraseLink("The  Kite", (5,), "blip2"), PhraseLink("the kite", (4,), "llava")),
}  # fmt: skip


def ground(answer: str, **options: Any) -> DenseCaption:
    record = record_of(VALUES | {DENSE_DRAFT: Generation("p", answer, "llm", "stop")})
    (row,) = GrandV1DenseGrounding(**options).annotate(ByHand(), [record])
    found: DenseCaption = row[DENSE_CAPTION]
    return found


def said(caption: DenseCaption) -> list[tuple[str, tuple[int, ...]]]:
    return [(caption.text[s.start : s.end], s.object_ids) for s in caption.spans]


def test_references_of_the_model_are_not_used() -> None:
    found = ground("<p>A red car</p>[4] stands.", words=("siglip",))
    assert found.text == "A red car stands."
    assert said(found) == [("A red car", (0,))]
    assert (found.source, found.finish_reason, found.verified) == ("llm", "stop", False)


def test_words_are_put_before_labels_only_where_told_so() -> None:
    assert ("red", (0,)) in said(ground("it is red"))
    assert said(ground("it is red", words=("siglip",))) == []


def test_phrases_of_all_captions_ground_their_objects() -> None:
    assert said(ground("it is the kite")) == [("the kite", (5, 4))]


def test_nouns_are_compared_with_labels_and_not_with_texts() -> None:
    assert said(ground("the big cars")) == [("the big cars", (0,))]
    assert said(ground("the big parked")) == []


@pytest.mark.parametrize("defects", [("D4",), ("D5",), ("D6",), ("D7",)])
def test_faults_are_options(defects: Any) -> None:
    assert ground("it is the kite", defects=defects).text == "it is the kite"


def test_d4_is_passed_on() -> None:
    assert said(ground("it's the kite!")) == [("the kite", (5, 4))]
    assert said(ground("it's the kite!", defects=("D4",))) == [("he kite", (5, 4))]
