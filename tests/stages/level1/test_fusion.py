from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import settings
from grand_pipeline.columns import ATTRIBUTES, DETECTIONS, FUSED
from grand_pipeline.labels import Lexicon
from grand_pipeline.types import Attribute, Box, Detection, Instance, Vote
from stages.level1.fusion import Fusion
from tests.records import record_of

SIZE = (100, 100)
HERE: Box = (10, 10, 40, 40)
NEAR: Box = (12, 10, 42, 40)  # IoU 0.875 with HERE
SHIFTED: Box = (15, 10, 45, 40)  # IoU 0.714 with HERE
HALF: Box = (19, 10, 49, 40)  # IoU 0.538 with HERE
AWAY: Box = (60, 60, 90, 90)


def det(box: Box, score: float, label: str) -> Detection:
    return Detection(box, score, label)


def fuse(detections: dict[str, list[Detection]], **options: Any) -> tuple[Instance, ...]:
    return Fusion(**options).fuse(detections, SIZE)


def brief(instances: tuple[Instance, ...]) -> list[tuple[int, str, str]]:
    return [(i.id, i.status, i.label) for i in instances]


def test_two_sources_make_an_object_and_one_a_floating_object() -> None:
    found = fuse(
        {"a": [det(HERE, 0.6, "Dogs"), det(AWAY, 0.9, "cat")], "b": [det(SHIFTED, 0.2, "dog")]}
    )
    assert brief(found) == [(0, "object", "dog"), (1, "floating", "cat")]
    assert found[0].score == pytest.approx(1 - 0.4 * 0.8)
    assert found[0].box == pytest.approx((10.5, 10, 40.5, 40))
    assert found[0].votes == (Vote("a", "Dogs", 0.6), Vote("b", "dog", 0.2))
    assert found[1].score == pytest.approx(0.9)
    assert found[0].kind is None


def test_votes_of_one_source_do_not_add_up() -> None:
    found = fuse({"a": [det(HERE, 0.6, "dog"), det(HALF, 0.5, "dog")]})
    assert [i.status for i in found] == ["floating", "floating"]


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        (("dog", "dogs"), {}, 1),
        (("dog", "dogs"), {"agreeing_iou": 0.6}, 2),
        (("dog", "animal"), {}, 1),
        (("dog", "animal"), {"agreeing_iou": 0.6}, 2),
        (("dog", "cat"), {}, 2),
        (("dog", "cat"), {"group_iou": 0.5}, 1),
    ],
)
def test_agreeing_labels_need_less_overlap(
    labels: tuple[str, str], options: dict[str, float], expected: int
) -> None:
    first, second = labels
    found = fuse({"a": [det(HERE, 0.6, first)], "b": [det(HALF, 0.5, second)]}, **options)
    assert len(found) == expected
    assert {i.status for i in found} == {"object" if expected == 1 else "floating"}


def test_the_best_overlap_votes_not_the_first() -> None:
    found = fuse(
        {"a": [det(HERE, 0.6, "dog")], "b": [det(SHIFTED, 0.5, "dog"), det(HERE, 0.4, "dog")]},
        nms_iou=0.95,
        group_iou=0.8,
    )
    assert found[0].votes == (Vote("a", "dog", 0.6), Vote("b", "dog", 0.4))


def test_suppression_is_per_source_and_label() -> None:
    found = fuse({"a": [det(HERE, 0.6, "dog"), det(NEAR, 0.5, "Dog"), det(HALF, 0.4, "cat")]})
    assert brief(found) == [(0, "floating", "dog"), (1, "floating", "cat")]
    assert found[0].votes == (Vote("a", "dog", 0.6),)


def test_different_labels_on_one_place_are_decided_by_votes() -> None:
    found = fuse(
        {
            "a": [det(HERE, 0.5, "dog")],
            "b": [det(HERE, 0.4, "cat")],
            "c": [det(HERE, 0.3, "cat")],
        }
    )
    assert brief(found) == [(0, "object", "cat")]
    assert {vote.label for vote in found[0].votes} == {"dog", "cat"}
    assert found[0].score == pytest.approx(1 - 0.6 * 0.7)


def test_voted_objects_of_different_labels_merge_only_when_they_coincide() -> None:
    both = {
        source: [det(HERE, 0.5, "person"), det(box, 0.4, "dress")]
        for source, box in (("a", SHIFTED), ("b", SHIFTED))
    }
    assert brief(fuse(both)) == [(0, "object", "person"), (1, "object", "dress")]
    same = {s: [det(HERE, 0.5, "person"), det(HERE, 0.4, "dress")] for s in "ab"}
    assert brief(fuse(same)) == [(0, "object", "person")]


def test_two_near_things_of_one_label_stay_two() -> None:
    found = fuse({s: [det(HERE, 0.5, "dog"), det(SHIFTED, 0.4, "dog")] for s in "ab"}, nms_iou=0.8)
    assert brief(found) == [(0, "object", "dog"), (1, "object", "dog")]


def test_hypernyms_vote_together_for_the_narrower_label() -> None:
    found = fuse({"a": [det(HERE, 0.6, "animal")], "b": [det(HERE, 0.3, "dog")]})
    assert brief(found) == [(0, "object", "dog")]
    assert found[0].score == pytest.approx(1 - 0.4 * 0.7)


def test_people_are_one_class_but_keep_an_agreed_word() -> None:
    man = fuse({"a": [det(HERE, 0.6, "man")], "b": [det(HERE, 0.3, "Man")]})
    mixed = fuse({"a": [det(HERE, 0.6, "man")], "b": [det(HERE, 0.3, "woman")]})
    assert (man[0].label, mixed[0].label) == ("man", "person")


def test_own_synonyms() -> None:
    lexicon = Lexicon(synonyms=(("pooch", "dog"),))
    detections = {"a": [det(HERE, 0.6, "pooch")], "b": [det(HERE, 0.3, "dog")]}
    assert brief(fuse(detections, lexicon=lexicon)) == [(0, "object", "dog")]


def test_thresholds_per_source() -> None:
    detections = {"a": [det(HERE, 0.2, "dog")], "b": [det(AWAY, 0.2, "cat")]}
    assert len(fuse(detections, threshold=0.2)) == 2
    assert fuse(detections, threshold=0.21) == ()
    assert brief(fuse(detections, thresholds=(("b", 0.3),))) == [(0, "floating", "dog")]


def test_min_votes_of_one_makes_objects_of_all() -> None:
    assert [i.status for i in fuse({"a": [det(HERE, 0.2, "dog")]}, min_votes=1)] == ["object"]


def test_a_confident_single_vote_counts_only_when_asked() -> None:
    detections = {"a": [det(HERE, 0.8, "dog"), det(AWAY, 0.9, "sky")]}
    assert [i.status for i in fuse(detections)] == ["floating", "floating"]
    found = fuse(detections, single_vote_score=0.8, stuff=("sky",))
    assert brief(found) == [(0, "object", "dog"), (1, "floating", "sky")]


def test_stuff_has_its_kind_and_one_region_per_label() -> None:
    wide: Box = (0, 0, 100, 30)
    found = fuse(
        {
            "a": [det(wide, 0.5, "sky"), det(AWAY, 0.9, "sky"), det(wide, 0.4, "kite")],
            "b": [det(wide, 0.5, "Sky")],
        },
        stuff=("Sky",),
    )
    assert [(i.label, i.kind, i.status) for i in found] == [
        ("sky", "stuff", "object"),
        ("kite", "thing", "floating"),
    ]
    assert found[0].box == pytest.approx(wide)


def test_floating_objects_are_limited_best_first() -> None:
    boxes = [(10.0 * k, 0.0, 10.0 * k + 8, 8.0) for k in range(6)]
    found = fuse({"a": [det(b, 0.3 + k / 10, "dog") for k, b in enumerate(boxes)]}, max_floating=2)
    assert [i.score for i in found] == pytest.approx([0.8, 0.7])


def test_unusable_boxes_are_ignored() -> None:
    nan = math.nan
    bad = [(nan, 0, 1, 1), (5, 5, 5, 9), (200, 200, 210, 210), (9, 9, 3, 3)]
    found = fuse(
        {
            "a": [
                *(det(box, 0.9, "dog") for box in bad),
                det(HERE, nan, "dog"),
                det(HERE, 0.9, "  "),
                det((-50, -50, 40, 40), 0.9, "cat"),
            ]
        }
    )
    assert [(i.label, i.box) for i in found] == [("cat", (0, 0, 40, 40))]


def test_annotate_reads_every_detector_of_the_record() -> None:
    values = {
        DETECTIONS.of("a"): (det(HERE, 0.5, "dog"),),
        DETECTIONS.of("b"): (det(HERE, 0.5, "dog"),),
    }
    (row,) = Fusion().annotate(None, [record_of(values)])
    assert [i.status for i in row[FUSED]] == ["object"]
    (row,) = Fusion().annotate(None, [record_of(dict.fromkeys(values, ()))])
    assert row[FUSED] == ()


COORDINATE = st.integers(-10, 110)
DETECTION = st.builds(
    Detection,
    st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE).map(lambda b: tuple(map(float, b))),
    st.integers(0, 20).map(lambda n: n / 20),
    st.sampled_from(["dog", "Dogs", "cat", "animal", "sky", "man", "child", ""]),
)
MANY = st.dictionaries(st.sampled_from("abc"), st.lists(DETECTION, max_size=8))


@given(MANY, st.booleans())
def test_invariants(detections: dict[str, list[Detection]], with_stuff: bool) -> None:
    stage = Fusion(stuff=("sky",) if with_stuff else ())
    found = stage.fuse(detections, SIZE)
    assert [i.id for i in found] == list(range(len(found)))
    given_votes = {(s, d.label, d.score) for s, ds in detections.items() for d in ds}
    for instance in found:
        x1, y1, x2, y2 = instance.box
        assert 0 <= x1 < x2 <= 100
        assert 0 <= y1 < y2 <= 100
        assert instance.score is not None
        assert 0 <= instance.score <= 1
        assert instance.label
        assert {(v.source, v.label, v.score) for v in instance.votes} <= given_votes
        voters = {vote.source for vote in instance.votes}
        assert (instance.status == "object") == (len(voters) >= 2)
    regions = [i.label for i in found if i.kind == "stuff"]
    assert len(regions) == len(set(regions))
    statuses = [i.status for i in found]
    assert statuses == sorted(statuses, reverse=True)


@given(MANY)
def test_order_of_input_is_irrelevant(detections: dict[str, list[Detection]]) -> None:
    turned = {source: detections[source][::-1] for source in reversed(list(detections))}
    assert Fusion().fuse(detections, SIZE) == Fusion().fuse(turned, SIZE)


@given(st.lists(MANY, max_size=4), st.booleans())
def test_images_go_through_together_as_they_do_alone(
    images: list[dict[str, list[Detection]]], with_stuff: bool
) -> None:
    stage = Fusion(stuff=("sky",) if with_stuff else (), max_floating=2)
    sizes = [(100, 100), (80, 90), (60, 120), (100, 40)][: len(images)]
    alone = [stage.fuse(one, size) for one, size in zip(images, sizes, strict=True)]
    assert stage.fuse_all(images, sizes) == alone


def test_options_can_be_written_in_a_preset() -> None:
    table = {
        "thresholds": [["a", 0.3]],
        "lexicon": {"synonyms": [["pooch", "dog"]], "hypernyms": [["dog", "guard"]]},
    }
    (stage,) = settings.stages(settings.Preset("mine", "", {"fusion": table}))
    assert isinstance(stage, Fusion)
    assert stage.thresholds == (("a", 0.3),)
    assert stage.lexicon.agree("pooch", "guard")
    assert stage.options()["lexicon"]["synonyms"] == (("pooch", "dog"),)


def test_describers_confirm_and_describe_but_do_not_label() -> None:
    dog, near = (10.0, 10.0, 40.0, 40.0), (12.0, 10.0, 42.0, 40.0)
    values = {
        DETECTIONS.of("a"): (Detection(dog, 0.5, "dog"),),
        DETECTIONS.of("grit"): (
            Detection(near, 0.9, "a brown dog"),
            Detection((60.0, 60.0, 90.0, 90.0), 0.9, "green grass"),
        ),
    }
    stage = Fusion(describers=("grit",))
    (row,) = stage.annotate(None, [record_of(values)])
    (only,) = row[FUSED]
    assert (only.status, only.label, only.votes) == ("object", "dog", (Vote("a", "dog", 0.5),))
    assert row[ATTRIBUTES.of("grit")] == (Attribute(0, "grit", "a brown dog"),)
    assert set(stage.writes) == {FUSED, ATTRIBUTES.of("grit")}
    assert stage.mentions == (DETECTIONS.of("grit"),)
    strict = replace(stage, thresholds=(("grit", 0.95),))
    (row,) = strict.annotate(None, [record_of(values)])
    assert [i.status for i in row[FUSED]] == ["floating"] and row[ATTRIBUTES.of("grit")] == ()
    (row,) = stage.annotate(None, [record_of({DETECTIONS.of("a"): values[DETECTIONS.of("a")]})])
    assert [i.status for i in row[FUSED]] == ["floating"] and row[ATTRIBUTES.of("grit")] == ()


def test_without_describers_every_source_labels() -> None:
    values = {DETECTIONS.of("grit"): (Detection((10.0, 10.0, 40.0, 40.0), 0.9, "a brown dog"),)}
    (row,) = Fusion().annotate(None, [record_of(values)])
    assert set(row) == {FUSED} and [i.status for i in row[FUSED]] == ["floating"]
