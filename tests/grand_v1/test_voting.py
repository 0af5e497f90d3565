"""Level 1: thresholds, suppression, greedy groups, votes, persons."""

from __future__ import annotations

from collections.abc import Sequence

from grand_pipeline.grand_v1 import voting
from grand_pipeline.grand_v1.voting import Seen, Thresholds
from grand_pipeline.types import Box, Detection, Instance

PLACE: Box = (10, 10, 109, 109)
ELSEWHERE: Box = (300, 300, 399, 399)
LIMITS = Thresholds(
    {"eva_02_01": 0.6, "owl_vit": 0.1, "grit": 0.3},
    0.3,
    {"eva_02_01": 0.2},
    {"eva_02_01": 0.75, "owl_vit": 0.2},
    2,
)
RANKS = {"eva-02-01": 0, "owl_vit": 1, "pomp": 2, "grit": 9}


def seen(source: str, label: str, score: float, box: Box = PLACE) -> Seen:
    return Seen(source, RANKS[source], Detection(box, score, label))


def fuse(candidates: Sequence[Seen], *defects: str) -> tuple[Instance, ...]:
    return voting.fuse(candidates, 0.65, {"grit"}, LIMITS, defects)


def summary(instances: Sequence[Instance]) -> list[tuple[int, str, str, float | None]]:
    return [(i.id, i.status, i.label, i.score) for i in instances]


def test_two_models_make_an_object_with_the_box_and_score_of_the_first_in_rank() -> None:
    moved: Box = (10, 10, 109, 99)
    (only,) = fuse([seen("owl_vit", "dress", 0.99, moved), seen("eva-02-01", "woman", 0.7)])
    assert (only.status, only.box, only.score, only.label) == ("object", PLACE, 0.7, "woman")
    assert [(v.source, v.label, v.score) for v in only.votes] == [
        ("eva-02-01", "woman", 0.7), ("owl_vit", "dress", 0.99),
    ]  # fmt: skip
    assert only.kind is None


def test_several_boxes_of_a_later_model_are_taken_but_none_of_the_same() -> None:
    found = fuse(
        [
            seen("owl_vit", "dog", 0.5),
            seen("owl_vit", "cat", 0.4),
            seen("pomp", "cow", 0.5),
            seen("pomp", "ox", 0.4),
        ]
    )
    assert summary(found) == [(0, "object", "dog", 0.5), (1, "floating", "cat", 0.4)]
    assert [v.label for v in found[0].votes] == ["dog", "cow", "ox"]


def test_thresholds_have_to_be_exceeded() -> None:
    assert fuse([seen("pomp", "dog", 0.3)]) == ()
    assert summary(fuse([seen("pomp", "dog", 0.31)])) == [(0, "floating", "dog", 0.31)]
    assert fuse([seen("eva-02-01", "dog", 0.6)]) == ()


def test_the_limit_of_the_overlap_is_included() -> None:
    rows_65: Box = (10, 10, 109, 74)
    rows_64: Box = (10, 10, 109, 73)
    assert len(fuse([seen("owl_vit", "dog", 0.5), seen("pomp", "dog", 0.5, rows_65)])) == 1
    assert len(fuse([seen("owl_vit", "dog", 0.5), seen("pomp", "dog", 0.5, rows_64)])) == 2


def test_a_describer_is_the_second_vote_and_gives_no_label() -> None:
    (only,) = fuse([seen("owl_vit", "dog", 0.5), seen("grit", "a brown dog", 0.8)])
    assert (only.status, only.label) == ("object", "dog")
    assert only.votes[1].label == "a brown dog"


def test_a_describer_alone_makes_no_object() -> None:
    assert fuse([seen("grit", "a brown dog", 0.8), seen("grit", "a dog", 0.7)]) == ()


def test_a_sure_person_is_an_object_on_one_vote() -> None:
    found = fuse(
        [
            seen("eva-02-01", "person", 0.76),
            seen("eva-02-01", "person", 0.75, ELSEWHERE),
            seen("eva-02-01", "person", 0.6, (500, 500, 599, 599)),
        ]
    )
    assert summary(found) == [(0, "object", "person", 0.76), (1, "floating", "person", 0.75)]


def test_a_weak_person_counts_where_another_model_sees_it_too() -> None:
    (only,) = fuse([seen("eva-02-01", "person", 0.3), seen("owl_vit", "man", 0.2)])
    assert (only.status, only.score) == ("object", 0.3)


def test_d13_persons_of_open_vocabulary_models_vanish() -> None:
    alone = [
        seen("owl_vit", "person", 0.5),
        seen("owl_vit", "person", 0.15, ELSEWHERE),
        seen("pomp", "person", 0.9, (500, 500, 599, 599)),
    ]
    assert summary(fuse(alone)) == [
        (0, "object", "person", 0.5),
        (1, "floating", "person", 0.15),
        (2, "floating", "person", 0.9),
    ]
    assert fuse(alone, "D13") == ()


def test_d13_other_words_for_people_are_no_persons() -> None:
    woman = [seen("eva-02-01", "woman", 0.5)]
    assert fuse(woman) == ()
    weak = [seen("eva-02-01", "Woman", 0.7)]
    assert summary(fuse(weak)) == summary(fuse(weak, "D13")) == [(0, "floating", "Woman", 0.7)]
    sure = [seen("eva-02-01", "Woman", 0.8)]
    assert fuse(sure)[0].status == "object"
    assert fuse(sure, "D13")[0].status == "floating"


def test_ids_count_objects_first() -> None:
    found = fuse(
        [
            seen("owl_vit", "cat", 0.9, ELSEWHERE),
            seen("owl_vit", "dog", 0.5),
            seen("pomp", "dog", 0.5),
        ]
    )
    assert summary(found) == [(0, "object", "dog", 0.5), (1, "floating", "cat", 0.9)]


def usable(*detections: Detection) -> list[tuple[str, float]]:
    found = voting.usable(detections, (1000, 1000), 0.1, 0.9, 2)
    return [(d.label, d.score) for d in found]


def test_scores_are_compared_with_two_digits_and_kept_with_all() -> None:
    assert usable(Detection(PLACE, 0.0951, "dog")) == [("dog", 0.0951)]
    assert usable(Detection(PLACE, 0.0949, "dog")) == []
    assert fuse([seen("pomp", "dog", 0.304)]) == ()
    assert fuse([seen("pomp", "dog", 0.305001)])[0].score == 0.305001


def test_suppression_is_blind_for_labels() -> None:
    close: Box = (10, 10, 109, 105)
    assert usable(Detection(close, 0.5, "cat"), Detection(PLACE, 0.6, "dog")) == [("dog", 0.6)]
    apart: Box = (10, 10, 109, 95)
    assert len(usable(Detection(apart, 0.5, "cat"), Detection(PLACE, 0.6, "dog"))) == 2


def test_boxes_are_cut_to_the_image_and_broken_ones_left_out() -> None:
    nan = float("nan")
    found = voting.usable(
        [
            Detection((-5, -5, 2000, 50), 0.5, "sky"),
            Detection((5, 5, 5, 9), 0.5, "thin"),
            Detection((0, 0, 9, 9), nan, "odd"),
            Detection((nan, 0, 9, 9), 0.5, "odd"),
        ],
        (100, 200), 0.1, 0.9, 2,
    )  # fmt: skip
    assert [(d.label, d.box) for d in found] == [("sky", (0, 0, 200, 50))]


def test_d1_the_second_run_is_written_over_the_first() -> None:
    one, two = (Detection(PLACE, 0.9, label) for label in ("first", "second"))
    given = {"eva-02-01": (one,), "eva-02-02": (two,), "pomp": ()}
    assert voting.overwritten(given, ()) == given
    assert voting.overwritten(given, ("D1",)) == {"eva-02-01": (two,), "pomp": ()}
    assert voting.overwritten({"pomp": ()}, ("D1",)) == {"pomp": ()}


def test_input_order_changes_nothing() -> None:
    twins = [Detection(PLACE, 0.5, "dog"), Detection(PLACE, 0.5, "cat")]
    assert usable(*twins) == usable(*twins[::-1])
