from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.columns import (
    CAPTIONS,
    FUSED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LINKS,
    PHRASE_BOXES,
    PHRASES,
)
from grand_pipeline.types import Box, Caption, Instance, Phrase, PhraseBox, PhraseLink, Span, Vote
from stages.level2.linking import Linking
from stages.mentions import Linked
from tests.records import record_of

SIZE = (100, 100)
HERE: Box = (10, 10, 40, 40)
SHIFTED: Box = (15, 10, 45, 40)  # IoU 0.714 with HERE
HALF: Box = (19, 10, 49, 40)  # IoU 0.538 with HERE
AWAY: Box = (60, 60, 90, 90)
DOG = Instance(
    0, "object", "thing", HERE, 0.9, "dog", (Vote("a", "dog", 0.9), Vote("b", "dog", 0.5))
)
CAR = Instance(
    1, "object", "thing", AWAY, 0.8, "car", (Vote("a", "car", 0.8), Vote("b", "car", 0.5))
)
CAT = Instance(2, "floating", "thing", HERE, 0.4, "cat", (Vote("a", "cat", 0.4),))


def phrase(caption: str, text: str, head: str, source: str = "blip", nth: int = 0) -> Phrase:
    start = -1
    for _ in range(nth + 1):
        start = caption.index(text, start + 1)
    return Phrase(source, text, head, start, start + len(text))


def link(
    fused: tuple[Instance, ...],
    caption: str,
    phrases: list[Phrase],
    boxes: dict[str, list[PhraseBox]] | None = None,
    **options: Any,
) -> Linked:
    given_boxes = {source: tuple(found) for source, found in (boxes or {}).items()}
    stage = Linking(**options)
    return stage.link(fused, {"blip": caption}, tuple(phrases), given_boxes, SIZE)


def test_phrase_goes_to_the_agreeing_object_under_its_box() -> None:
    text = "a puppy near a car"
    found = link(
        (DOG, CAR),
        text,
        [phrase(text, "a puppy", "puppy"), phrase(text, "a car", "car")],
        {"owl": [PhraseBox("a puppy", HALF, 0.5), PhraseBox("a car", AWAY, 0.4)]},
    )
    assert found.links == (PhraseLink("a puppy", (0,), "blip"), PhraseLink("a car", (1,), "blip"))
    assert found.captions == (Caption("blip", text, (Span(0, 7, (0,)), Span(13, 18, (1,)))),)
    assert [i.id for i in found.instances] == [0, 1]
    assert found.instances[0].votes[-1] == Vote("owl", "puppy", 0.5)


def test_agreement_beats_overlap() -> None:
    rival = Instance(5, "object", "thing", HERE, 0.9, "car")
    dog = Instance(6, "object", "thing", SHIFTED, 0.5, "dog")
    text = "a dog"
    found = link((rival, dog), text, [phrase(text, text, "dog")], {"o": [PhraseBox(text, HERE, 1)]})
    assert found.links[0].object_ids == (6,)


def test_another_label_needs_nearly_the_same_box() -> None:
    text = "a gizmo"
    phrases = [phrase(text, text, "gizmo")]
    same = link((DOG,), text, phrases, {"o": [PhraseBox(text, HERE, 0.2)]})
    assert same.links[0].object_ids == (0,)
    assert same.instances == (DOG,)
    near = link((DOG,), text, phrases, {"o": [PhraseBox(text, SHIFTED, 0.2)]})
    assert near.links == ()
    assert near.captions[0].spans == ()


def test_a_floating_object_is_promoted_by_a_new_source() -> None:
    text = "a cat"
    phrases = [phrase(text, text, "cat")]
    found = link((CAT,), text, phrases, {"owl": [PhraseBox(text, HERE, 0.5)]})
    assert [(i.id, i.status, len(i.votes)) for i in found.instances] == [(2, "object", 2)]
    again = link((CAT,), text, phrases, {"a": [PhraseBox(text, HERE, 0.5)]})
    assert again.instances == (CAT,)
    assert again.links[0].object_ids == (2,)


def test_broader_words_do_not_vote_on_voted_objects() -> None:
    text = "an animal"
    found = link((DOG,), text, [phrase(text, text, "animal")], {"o": [PhraseBox(text, HERE, 0.5)]})
    assert found.instances == (DOG,)
    assert found.links[0].object_ids == (0,)


def test_an_unmatched_box_becomes_a_floating_object() -> None:
    text = "some kites"
    phrases = [phrase(text, text, "kites")]
    found = link((DOG,), text, phrases, {"owl": [PhraseBox(text, AWAY, 0.5)]}, stuff=("sky",))
    born = Instance(1, "floating", "thing", AWAY, None, "kite", (Vote("owl", "kites", 0.5),))
    assert found.instances == (DOG, born)
    assert found.links == (PhraseLink(text, (1,), "blip"),)
    weak = link((DOG,), text, phrases, {"owl": [PhraseBox(text, AWAY, 0.2)]})
    assert weak.instances == (DOG,)
    assert weak.links == ()


def test_new_ids_follow_the_largest_and_boxes_of_two_grounders_are_one_object() -> None:
    text = "kites"
    boxes = {"p": [PhraseBox(text, AWAY, 0.5)], "q": [PhraseBox(text, AWAY, 0.6)]}
    far = Instance(7, "object", None, HERE, 0.9, "dog")
    found = link((far,), text, [phrase(text, text, "kites")], boxes)
    assert [i.id for i in found.instances] == [7, 8]
    assert found.instances[1].votes == (Vote("q", "kites", 0.6),)


def test_plural_phrases_take_several_boxes_and_singular_ones_the_best() -> None:
    dogs = tuple(Instance(k, "object", None, box, 0.9, "dog") for k, box in enumerate((HERE, AWAY)))
    both = [(HERE, 0.5), (AWAY, 0.6)]
    for text, head, ids in (
        ("two dogs", "dogs", (1, 0)),
        ("dogs", "dogs", (1, 0)),
        ("a dog", "dog", (1,)),
    ):
        boxes = {"o": [PhraseBox(text, box, score) for box, score in both]}
        found = link(dogs, text, [phrase(text, text, head)], boxes)
        assert found.links[0].object_ids == ids, text


def test_weak_boxes_of_a_plural_are_left_out() -> None:
    dogs = tuple(Instance(k, "object", None, box, 0.9, "dog") for k, box in enumerate((HERE, AWAY)))
    boxes = {"o": [PhraseBox("dogs", HERE, 0.9), PhraseBox("dogs", AWAY, 0.2)]}
    found = link(dogs, "dogs", [phrase("dogs", "dogs", "dogs")], boxes)
    assert found.links[0].object_ids == (0,)


def test_equal_phrases_of_a_caption_share_the_objects() -> None:
    dogs = tuple(Instance(k, "object", None, box, 0.9, "dog") for k, box in enumerate((HERE, AWAY)))
    text = "a dog beside a dog"
    phrases = [phrase(text, "a dog", "dog"), phrase(text, "a dog", "dog", nth=1)]
    boxes = {"o": [PhraseBox("a dog", HERE, 0.9), PhraseBox("a dog", AWAY, 0.8)]}
    found = link(dogs, text, phrases, boxes)
    assert found.captions[0].spans == (Span(0, 5, (0,)), Span(13, 18, (1,)))
    assert found.links == (PhraseLink("a dog", (0, 1), "blip"),)


def test_without_boxes_the_only_object_of_the_label_is_meant() -> None:
    text = "a dog and two cars"
    phrases = [phrase(text, "a dog", "dog"), phrase(text, "two cars", "cars")]
    found = link((DOG, CAR), text, phrases)
    assert found.links == (PhraseLink("a dog", (0,), "blip"),)
    assert link((DOG, CAR), text, phrases, by_label=False).links == ()


@pytest.mark.parametrize(("text", "linked"), [("a dog", False), ("the dogs", True)])
def test_an_ambiguous_label_links_only_the_plural(text: str, linked: bool) -> None:
    dogs = tuple(Instance(k, "object", None, box, 0.9, "dog") for k, box in enumerate((HERE, AWAY)))
    found = link(dogs, text, [phrase(text, text, text.split()[-1])])
    assert bool(found.links) is linked


def test_nested_phrases_give_one_span_and_two_links() -> None:
    text = "a dog in a car"
    phrases = [phrase(text, text, "dog"), phrase(text, "a car", "car")]
    found = link((DOG, CAR), text, phrases)
    assert found.captions[0].spans == (Span(0, 14, (0,)),)
    assert [entry.text for entry in found.links] == [text, "a car"]


def test_offsets_are_repaired_on_the_normalised_caption() -> None:
    raw = "a cafe\u0301 and a dog"
    shifted = Phrase("blip", "a dog", "dog", raw.index("a dog"), len(raw))
    found = link((DOG,), raw, [shifted])
    caption = found.captions[0]
    assert unicodedata.is_normalized("NFC", caption.text)
    (span,) = caption.spans
    assert caption.text[span.start : span.end] == "a dog"


def test_phrases_that_are_not_in_their_caption_are_dropped() -> None:
    ghost = Phrase("blip", "a dog", "dog", 0, 5)
    other = Phrase("git", "a dog", "dog", 0, 5)
    assert link((DOG,), "nothing", [ghost, other]).links == ()


def test_annotate_writes_all_three_columns() -> None:
    text = "a dog"
    values = {
        FUSED: (DOG,),
        CAPTIONS.of("blip"): text,
        PHRASES: (phrase(text, text, "dog"),),
        PHRASE_BOXES.of("owl"): (PhraseBox(text, HERE, 0.5),),
    }
    (row,) = Linking().annotate(None, [record_of(values)])
    assert set(row) == {INSTANCES, LINKS, GROUNDED_CAPTIONS}
    assert row[LINKS] == (PhraseLink("a dog", (0,), "blip"),)


CAPTION = "two dogs, a dog, an animal and the sky near a car and a dog"
TEXTS = ["two dogs", "a dog", "an animal", "the sky", "a car", "dogs, a dog"]
BOX = st.tuples(st.integers(0, 70), st.integers(0, 70), st.integers(1, 60)).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[2]))
)
INSTANCE = st.tuples(
    BOX, st.sampled_from(["dog", "car", "sky"]), st.sampled_from(["object", "floating"])
)
GROUNDED = st.tuples(st.sampled_from(TEXTS), BOX, st.integers(0, 10).map(lambda n: n / 10))


@given(
    st.lists(INSTANCE, max_size=5),
    st.lists(st.sampled_from(TEXTS), unique=True),
    st.dictionaries(st.sampled_from(["p", "q"]), st.lists(GROUNDED, max_size=6)),
)
def test_invariants(
    raw: list[tuple[Box, str, Any]],
    texts: list[str],
    boxes: dict[str, list[tuple[str, Box, float]]],
) -> None:
    fused = tuple(
        Instance(k, status, None, box, 0.5, label, (Vote("a", label, 0.5),))
        for k, (box, label, status) in enumerate(raw)
    )
    phrases = [phrase(CAPTION, text, text.split()[-1]) for text in texts]
    grounded = {s: [PhraseBox(*one) for one in found] for s, found in boxes.items()}
    found = link(fused, CAPTION, phrases, grounded)
    ids = [i.id for i in found.instances]
    assert len(ids) == len(set(ids))
    assert [(i.id, i.box, i.label) for i in found.instances[: len(fused)]] == [
        (i.id, i.box, i.label) for i in fused
    ]
    for link_ in found.links:
        assert link_.object_ids and set(link_.object_ids) <= set(ids)
    (caption,) = found.captions
    listed = {entry.text for entry in found.links}
    for span in caption.spans:
        assert caption.text[span.start : span.end] in listed
        assert set(span.object_ids) <= set(ids)
    for instance in found.instances:
        x1, y1, x2, y2 = instance.box
        assert instance.id < len(fused) or (0 <= x1 < x2 <= 100 and 0 <= y1 < y2 <= 100)
    turned = {source: grounded[source][::-1] for source in reversed(list(grounded))}
    assert link(fused, CAPTION, phrases[::-1], turned) == found


def test_a_box_without_score_is_a_plain_yes_and_its_vote_has_none() -> None:
    text = "a puppy near a kite"
    phrases = [phrase(text, "a puppy", "puppy"), phrase(text, "a kite", "kite")]
    boxes = {"mdetr": [PhraseBox("a puppy", HERE, None), PhraseBox("a kite", AWAY, None)]}
    found = link((DOG,), text, phrases, boxes)
    assert [link.object_ids for link in found.links] == [(0,), (1,)]
    assert found.instances[0].votes[-1] == Vote("mdetr", "puppy", None)
    assert found.instances[1].votes == (Vote("mdetr", "kite", None),)
