"""Texts about boxes: whom they mean, and what they confirm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.describing import Rule, confirm, usable
from grand_pipeline.labels import Lexicon
from grand_pipeline.types import Attribute, Box, Detection, Instance, Status, Vote

DOG: Box = (10, 10, 40, 40)
NEAR: Box = (12, 10, 42, 40)  # IoU 0.875 with DOG
KITE: Box = (60, 60, 80, 80)
AWAY: Box = (0, 80, 20, 100)
RULE = Rule(0.65, 2, Lexicon())


def thing(number: int, box: Box, *votes: str, status: Status = "floating") -> Instance:
    said = tuple(Vote(f"m{n}", label, 0.5) for n, label in enumerate(votes))
    return Instance(number, status, None, box, 0.5, votes[0], said)


FUSED = (
    thing(0, KITE, "kite", "kites", status="object"),
    thing(1, AWAY, "bird"),
    thing(2, DOG, "dog"),
)


def text(box: Box, words: str, score: float = 0.5) -> Detection:
    return Detection(box, score, words)


def test_a_text_confirms_the_object_that_its_box_fits_best() -> None:
    found = confirm(FUSED, {"grit": [text(NEAR, "a brown dog"), text(DOG, "fur")]}, RULE)
    assert [(i.id, i.label, i.status) for i in found.instances] == [
        (0, "kite", "object"),
        (1, "dog", "object"),
        (2, "bird", "floating"),
    ]
    assert found.instances[1].votes == FUSED[2].votes, "a text is no label"
    assert found.attributes["grit"] == (
        Attribute(1, "grit", "a brown dog"),
        Attribute(1, "grit", "fur"),
    )


def test_a_text_on_no_object_makes_none() -> None:
    found = confirm(FUSED, {"grit": [text((30, 60, 50, 80), "grass")], "other": []}, RULE)
    assert found.instances == FUSED
    assert found.attributes == {"grit": (), "other": ()}
    assert confirm((), {"grit": [text(DOG, "a dog")]}, RULE).instances == ()


def test_votes_for_another_label_do_not_add_up() -> None:
    split = (thing(0, DOG, "dog", "shirt"),)
    strict = Rule(0.65, 3, Lexicon())
    told = {"grit": [text(DOG, "a dog")]}
    assert confirm(split, told, strict).instances[0].status == "floating"
    assert confirm((thing(0, DOG, "dog", "puppy"),), told, strict).instances[0].status == "object"
    two = {**told, "blip": [text(NEAR, "an animal")]}
    assert confirm(split, two, strict).instances[0].status == "object", "each describer counts once"
    again = {"grit": [text(DOG, "a dog"), text(NEAR, "a brown dog")]}
    assert confirm(split, again, strict).instances[0].status == "floating"


def test_only_texts_with_a_place_and_a_score_count() -> None:
    found = [
        text(DOG, "b", 0.3),
        text(DOG, "weak", 0.1),
        text((5, 5, 5, 9), "empty"),
        text(DOG, " "),
        text(DOG, "nan", float("nan")),
        text((-5, -5, 10, 300), "a", 0.3),
        text((float("nan"), 0, 5, 5), "broken"),
    ]
    kept = usable(found, 0.2, (100, 100))
    assert [(one.label, one.box) for one in kept] == [("a", (0, 0, 10, 100)), ("b", DOG)]
    assert usable([], 0.2, (100, 100)) == []


CORNERS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40))
BOXES = CORNERS.map(lambda c: (float(c[0]), float(c[1]), float(c[0] + c[2]), float(c[1] + c[3])))


@given(
    st.lists(st.tuples(BOXES, st.sampled_from(["object", "floating"])), max_size=6),
    st.lists(BOXES, max_size=6),
)
def test_nothing_is_lost_and_ids_are_places(
    objects: list[tuple[Box, Status]], boxes: list[Box]
) -> None:
    fused = tuple(thing(n, box, "dog", status=s) for n, (box, s) in enumerate(objects))
    told = {"grit": [text(box, f"text {n}") for n, box in enumerate(boxes)]}
    found = confirm(fused, told, RULE)
    assert [one.id for one in found.instances] == list(range(len(fused)))
    assert sorted(i.box for i in found.instances) == sorted(i.box for i in fused)
    statuses = [one.status for one in found.instances]
    assert statuses == sorted(statuses, reverse=True), "objects come first"
    assert statuses.count("object") >= sum(s == "object" for _, s in objects)
    assert all(a.object_id < len(fused) for a in found.attributes["grit"])
