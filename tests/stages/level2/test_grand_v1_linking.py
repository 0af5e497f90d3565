from __future__ import annotations

from typing import Any

from grand_pipeline.columns import (
    CAPTIONS,
    FUSED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LINKS,
    PHRASE_BOXES,
    PHRASES,
)
from grand_pipeline.types import Box, Instance, Phrase, PhraseBox, Span, Status, Vote
from stages.level2.grand_v1_linking import GrandV1Linking
from tests.records import record_of

SIZE = (200, 200)
NEAR: Box = (0, 0, 40, 40)
FAR: Box = (100, 100, 140, 140)
HUGE: Box = (0, 0, 190, 190)
CAPTION = "A dog and a cat"
DOG, CAT = Phrase("blip2", "A dog", "dog", 0, 5), Phrase("blip2", "a cat", "cat", 10, 15)


def thing(
    number: int, status: Status, box: Box, label: str = "dog", score: float = 0.5
) -> Instance:
    return Instance(number, status, None, box, score, label, (Vote("owl", label, score),))


def linked(fused: tuple[Instance, ...], boxes: tuple[PhraseBox, ...], **options: Any) -> Any:
    texts = {"blip2": CAPTION}
    return GrandV1Linking(**options).link(fused, texts, (DOG, CAT), {"mdetr": boxes}, SIZE)


def test_phrases_are_tied_to_objects_and_stand_in_their_caption() -> None:
    found = linked(
        (thing(0, "object", NEAR),), (PhraseBox("A dog", NEAR, None), PhraseBox("a cat", FAR, 0.9))
    )
    assert [(link.text, link.object_ids) for link in found.links] == [
        ("A dog", (0,)), ("a cat", (1,)),
    ]  # fmt: skip
    assert found.captions[0].spans == (Span(0, 5, (0,)), Span(10, 15, (1,)))
    assert found.instances[1].label == "a cat"


def test_unsure_boxes_are_left_out() -> None:
    found = linked((thing(0, "object", NEAR),), (PhraseBox("A dog", NEAR, 0.5),))
    assert found.links == () and found.captions[0].spans == ()


def test_boxes_are_cut_to_the_image() -> None:
    found = linked((), (PhraseBox("A dog", (-9, -9, 500, 50), 0.9), PhraseBox("a cat", FAR, 0.9)))
    assert found.instances[0].box == (0, 0, 200, 50)


def test_large_floating_objects_are_promoted_after_linking() -> None:
    found = linked((thing(3, "floating", HUGE, "sky"),), ())
    assert [(i.id, i.status) for i in found.instances] == [(3, "object")]


def test_d8_captions_in_other_case_are_missed() -> None:
    fused, boxes = (thing(0, "object", NEAR),), (PhraseBox("A dog", NEAR, 0.9),)
    assert linked(fused, boxes).captions[0].spans == (Span(0, 5, (0,)),)
    assert linked(fused, boxes, defects=("D8",)).captions[0].spans == ()


def test_d11_a_deleted_object_leaves_no_reference_behind() -> None:
    fused = (
        thing(0, "floating", HUGE, score=0.4),
        thing(1, "floating", (0, 0, 180, 199), score=0.9),
    )
    boxes = (PhraseBox("A dog", HUGE, 0.9),)
    meant, published = linked(fused, boxes), linked(fused, boxes, defects=("D11",))
    assert meant.links[0].object_ids == published.links[0].object_ids == (0,)
    # The phrase promoted object 0; without it, it would have been a losing candidate.
    alone = (thing(0, "floating", HUGE, score=0.4), fused[1], thing(2, "object", NEAR, "cat"))
    assert {i.id for i in linked(alone, (), defects=("D11",)).instances} == {1, 2}
    assert {i.id for i in linked(alone, ()).instances} == {0, 1, 2}


def test_annotate_writes_what_it_declares() -> None:
    stage = GrandV1Linking()
    values = {
        FUSED: (thing(0, "floating", NEAR),),
        CAPTIONS.of("blip2"): CAPTION,
        PHRASES: (DOG,),
        PHRASE_BOXES.of("mdetr"): (PhraseBox("A dog", NEAR, 0.9),),
    }
    (row,) = stage.annotate(None, [record_of(values, SIZE)])
    assert set(row) == set(stage.writes) == {INSTANCES, LINKS, GROUNDED_CAPTIONS}
    assert row[INSTANCES][0].status == "object"
