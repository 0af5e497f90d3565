from __future__ import annotations

from dataclasses import replace
from typing import Literal

from grand_pipeline.types import Affordance, Box, Instance, Vote
from stages.level1.grand_v1_affordances import GrandV1Affordances

HERE: Box = (10, 10, 40, 40)
Switch = Literal["D3", "D13b"]


def thing(number: int, label: str, status: Literal["object", "floating"] = "object") -> Instance:
    return Instance(number, status, None, HERE, 0.5, label, (Vote("m", label, 0.5),))


FUSED = (
    thing(0, "chair"),
    thing(1, "dog", "floating"),
    thing(2, "cup", "floating"),
    thing(3, "tennis_racket", "floating"),
)
FINAL = (
    *(FUSED[0], FUSED[1], replace(FUSED[2], status="object"), FUSED[3]),
    Instance(4, "floating", None, HERE, None, "kite", (Vote("g", "kite", None),)),
)


def told(*defects: Switch) -> dict[str, Affordance]:
    stage = GrandV1Affordances(defects=defects)
    found = stage.offered(stage.load("cpu"), FUSED, FINAL)
    return {one.category: one for one in found}


def test_every_label_of_level_1_is_looked_up() -> None:
    found = told()
    assert found["sit on"].object_ids == (0,) and found["drink from"].object_ids == (2,)
    assert found["keep as a pet"].object_ids == (1,)
    assert "let fly on a string" not in found, "captions come later"
    described = (replace(FUSED[0], votes=(Vote("grit", "dog", 0.5), Vote("m", "Chairs", 0.5))),)
    stage = GrandV1Affordances()
    (only,) = stage.offered(stage.load("cpu"), described, described)
    assert (only.category, only.labels) == ("sit on", ("chair",))


def test_d3_numbers_from_before_promotion_point_at_other_objects() -> None:
    # In GranD's final file the cup is promoted to 1, the dog becomes 2.
    found = told("D3")
    assert found["sit on"].object_ids == (0,)
    assert found["keep as a pet"].object_ids == (2,), "the dog's old number is the cup's"
    assert found["drink from"].object_ids == (1,)
    assert told()["keep as a pet"].object_ids == (1,)


def test_d3_objects_that_are_gone_take_numbers_with_them() -> None:
    stage = GrandV1Affordances(defects=("D3",))
    found = stage.offered(stage.load("cpu"), FUSED, FINAL[:2])
    assert {i for one in found for i in one.object_ids} == {0, 1}


def test_d13b_only_the_spelling_of_the_table_hits() -> None:
    assert told()["play ball games with"].labels == ("tennis racket",)
    assert "play ball games with" not in told("D13b")
    assert told("D13b")["sit on"].object_ids == (0,)
