from __future__ import annotations

from typing import Any

import pytest

from grand_pipeline.columns import ATTRIBUTES, DETECTIONS, FUSED
from grand_pipeline.types import Attribute, Box, Detection, Instance
from stages.level1.grand_v1_fusion import GrandV1Fusion
from tests.records import record_of

SIZE = (500, 500)
PLACE: Box = (10, 10, 110, 110)
APART: Box = (200, 200, 300, 300)


def one(label: str, score: float, box: Box = PLACE) -> tuple[Detection, ...]:
    return (Detection(box, score, label),)


def fused(stage: GrandV1Fusion, **found: tuple[Detection, ...]) -> tuple[Instance, ...]:
    return stage.fuse({name.replace("__", "-"): given for name, given in found.items()}, SIZE)


def test_the_order_of_models_is_not_that_of_scores() -> None:
    (only,) = fused(GrandV1Fusion(), pomp=one("cow", 0.9), co_detr=one("horse", 0.3))
    assert (only.label, only.score) == ("horse", 0.3)


def test_sources_may_be_spelt_with_hyphens() -> None:
    names: dict[str, Any] = {"eva-02-01": one("dog", 0.7), "eva-02-02": one("puppy", 0.9)}
    (only,) = GrandV1Fusion().fuse(names, SIZE)
    assert (only.label, only.score, only.status) == ("dog", 0.7, "object")


def test_unknown_sources_follow_by_name_and_have_a_threshold_of_their_own() -> None:
    stage = GrandV1Fusion(other_threshold=0.5)
    (only,) = fused(stage, zebra=one("z", 0.9), alpha=one("a", 0.6), pomp=one("p", 0.4))
    assert [v.source for v in only.votes] == ["pomp", "alpha", "zebra"]
    assert fused(stage, zebra=one("z", 0.5)) == ()


def test_describers_come_last_even_behind_unknown_sources() -> None:
    (only,) = fused(GrandV1Fusion(), grit=one("a dog runs", 0.9), zebra=one("dog", 0.4))
    assert (only.label, only.status) == ("dog", "object")


def test_d1_only_the_second_run_of_eva_votes() -> None:
    names: dict[str, Any] = {"eva-02-01": one("dog", 0.7), "eva-02-02": one("puppy", 0.9)}
    (only,) = GrandV1Fusion(defects=("D1",)).fuse(names, SIZE)
    assert (only.label, only.status) == ("puppy", "floating")
    assert [v.source for v in only.votes] == ["eva-02-01"]


@pytest.mark.parametrize(("defects", "expected"), [((), ["floating"]), (("D13",), [])])
def test_d13_is_an_option(defects: Any, expected: list[str]) -> None:
    found = fused(GrandV1Fusion(defects=defects), ov_sam=one("person", 0.9))
    assert [i.status for i in found] == expected


def test_texts_of_describers_become_attributes() -> None:
    stage = GrandV1Fusion()
    values = {
        DETECTIONS.of("owl_vit"): one("dog", 0.9),
        DETECTIONS.of("grit"): (*one("a brown dog", 0.8), *one("the sky", 0.8, APART)),
    }
    (row,) = stage.annotate(None, [record_of(values, SIZE)])
    assert set(row) == set(stage.writes)
    assert [i.id for i in row[FUSED]] == [0]
    assert row[ATTRIBUTES.of("grit")] == (Attribute(0, "grit", "a brown dog"),)


def test_an_image_without_detections_has_no_objects() -> None:
    stage = GrandV1Fusion(describers=())
    assert stage.writes == (FUSED,)
    assert stage.annotate(None, [record_of({}, SIZE)]) == [{FUSED: ()}]
