"""Phrases meet objects by their boxes; floating objects are promoted."""

from __future__ import annotations

from grand_pipeline.grand_v1 import linking
from grand_pipeline.grand_v1.linking import Located
from grand_pipeline.types import Box, Instance, Phrase, PhraseBox, Status, Vote

NEAR: Box = (0, 0, 99, 99)
SHIFTED: Box = (0, 5, 99, 104)
"""Overlaps NEAR with an IoU of 0.9."""
FAR: Box = (200, 200, 299, 299)


def thing(
    number: int, status: Status, box: Box, label: str = "dog", score: float | None = 0.5
) -> Instance:
    return Instance(number, status, None, box, score, label, (Vote("a", label, score),))


def asked(phrase: str, head: str, box: Box = NEAR) -> Located:
    return Located(phrase, head, "mdetr", box, None)


def test_a_phrase_belongs_to_the_object_under_its_box_whatever_its_label() -> None:
    linked = linking.link([thing(0, "object", NEAR, "dog")], [asked("A red  Car", "car")], 0.75)
    assert linked.ids == {"a red car": (0,)}
    assert [vote.label for vote in linked.instances[0].votes] == ["dog"]


def test_the_overlap_has_to_exceed_the_threshold() -> None:
    # 75 of 100 rows shared: exactly 0.75.
    linked = linking.link([thing(0, "object", NEAR)], [asked("a dog", "dog", (0, 0, 99, 74))], 0.75)
    assert linked.ids == {"a dog": (1,)}


def test_a_phrase_without_object_floats_under_its_own_words_and_without_score() -> None:
    (only,) = linking.link([], [asked("A red  Car", "car")], 0.75).instances
    assert (only.id, only.status, only.label, only.score) == (0, "floating", "a red car", None)
    assert only.votes == (Vote("mdetr", "a red car", None),)


def test_a_second_label_promotes_a_floating_object_and_keeps_its_id() -> None:
    linked = linking.link([thing(7, "floating", NEAR)], [asked("a puppy", "puppy")], 0.75)
    assert [(i.id, i.status) for i in linked.instances] == [(7, "object")]


def test_a_detector_and_a_grounder_with_the_same_word_are_two_labels() -> None:
    linked = linking.link([thing(0, "floating", NEAR)], [asked("a dog", "dog")], 0.75)
    assert linked.instances[0].status == "object"


def test_d13_the_same_word_of_one_source_counts_twice() -> None:
    fused = [Instance(0, "floating", None, NEAR, 0.5, "dog", (Vote("mdetr", "dog", 0.5),))]
    phrases = [asked("a dog", "dog")]
    assert linking.link(fused, phrases, 0.75).instances[0].status == "floating"
    assert linking.link(fused, phrases, 0.75, ("D13",)).instances[0].status == "object"


def test_d13e_a_phrase_goes_to_the_first_object_and_to_a_floating_one_too() -> None:
    fused = [thing(0, "object", SHIFTED), thing(1, "object", NEAR), thing(2, "floating", NEAR)]
    phrases = [asked("a dog", "dog")]
    assert linking.link(fused, phrases, 0.75).ids == {"a dog": (1,)}
    assert linking.link(fused, phrases, 0.75, ("D13e",)).ids == {"a dog": (0, 2)}


def test_d24_new_ids_begin_one_too_high() -> None:
    fused = [thing(0, "object", NEAR), thing(1, "floating", FAR)]
    phrases = [asked("sky", "sky", (0, 400, 50, 450))]
    assert linking.link(fused, phrases, 0.75).instances[-1].id == 2
    assert linking.link(fused, phrases, 0.75, ("D24",)).instances[-1].id == 3


def test_equal_phrases_share_their_objects() -> None:
    fused = [thing(0, "object", NEAR), thing(1, "object", FAR)]
    linked = linking.link(fused, [asked("a dog", "dog"), asked("A dog", "dog", FAR)], 0.75)
    assert linked.ids == {"a dog": (0, 1)}


PHRASES = (
    Phrase("blip2", "a dog", "dog", 0, 5),
    Phrase("llava", "a dog", "dog", 0, 5),
    Phrase("llava", "a cat", "cat", 10, 15),
    Phrase("llava", "a car", "car", 20, 25),
)
BOXES = {"mdetr": tuple(PhraseBox(text, NEAR, 0.9) for text in ("a dog", "a cat", "a car"))}


def test_d10_after_a_repeated_phrase_heads_are_shifted() -> None:
    def heads(*defects: str) -> list[tuple[str, str]]:
        return [(one.phrase, one.head) for one in linking.located(PHRASES, BOXES, 0.5, defects)]

    assert heads() == [("a dog", "dog"), ("a cat", "cat"), ("a car", "car")]
    assert heads("D10") == [("a dog", "dog"), ("a cat", "dog"), ("a car", "cat")]


def test_the_best_box_of_a_phrase_counts_if_it_is_sure_enough() -> None:
    found = {"owl": (PhraseBox("a dog", NEAR, 0.6), PhraseBox("a dog", FAR, 0.8))}
    (one,) = linking.located(PHRASES, found, 0.5)
    assert (one.box, one.source) == (FAR, "owl")
    assert linking.located(PHRASES, found, 0.8) == []


BIG: Box = (0, 0, 90, 90)
BIGGER: Box = (0, 0, 95, 95)


def promoted(instances: list[Instance], *defects: str) -> list[tuple[int, str]]:
    found = linking.promote_large(instances, (100, 100), 0.5, defects)
    return [(i.id, i.status) for i in found]


def test_a_floating_object_larger_than_half_the_image_becomes_an_object() -> None:
    small = thing(0, "object", (0, 0, 20, 20), "cat")
    assert promoted([small, thing(1, "floating", BIG)]) == [(0, "object"), (1, "object")]
    assert promoted([small, thing(1, "floating", (0, 0, 70, 70))]) == [
        (0, "object"), (1, "floating"),
    ]  # fmt: skip


def test_nothing_is_promoted_beside_a_larger_object() -> None:
    instances = [thing(0, "object", BIGGER), thing(1, "floating", BIG, score=0.9)]
    assert promoted(instances) == [(0, "object"), (1, "floating")]


def test_a_large_object_of_a_known_label_needs_the_better_score() -> None:
    known = thing(0, "object", (0, 0, 20, 20), score=0.7)
    assert promoted([known, thing(1, "floating", BIG, score=0.6)])[1] == (1, "floating")
    assert promoted([known, thing(1, "floating", BIG, score=0.8)])[1] == (1, "object")


def test_d11_large_boxes_that_lose_are_deleted() -> None:
    rivals = [thing(0, "floating", BIG, score=0.6), thing(1, "floating", BIGGER, score=0.9)]
    assert promoted(rivals) == [(0, "floating"), (1, "object")]
    assert promoted(rivals, "D11") == [(1, "object")]


def test_d11_a_large_box_without_score_stops_everything() -> None:
    mixed = [thing(0, "floating", BIG), thing(1, "floating", BIGGER, "sky", None)]
    assert promoted(mixed) == [(0, "object"), (1, "floating")]
    assert promoted(mixed, "D11") == [(0, "floating"), (1, "floating")]
