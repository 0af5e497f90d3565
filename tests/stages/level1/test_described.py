from __future__ import annotations

from grand_pipeline.types import Attribute, Box, Instance, RegionText
from stages.level1.described import Described

HERE: Box = (10, 10, 40, 40)
NEAR: Box = (12, 10, 42, 40)
AWAY: Box = (60, 60, 90, 90)
DOG = Instance(3, "object", "thing", HERE, 0.9, "dog")
CAR = Instance(7, "object", "thing", AWAY, 0.9, "car")


def test_texts_go_to_the_object_they_fit_best() -> None:
    told = (RegionText(NEAR, "brown"), RegionText(AWAY, "fast"), RegionText(HERE, "small"))
    found = Described(source="x").attributes((DOG, CAR), told)
    assert found == (
        *(Attribute(3, "x", "brown"), Attribute(7, "x", "fast"), Attribute(3, "x", "small")),
    )


def test_texts_without_object_go_nowhere() -> None:
    stage = Described(source="x", match_iou=0.9)
    assert stage.attributes((DOG,), (RegionText(NEAR, "brown"), RegionText(AWAY, "fast"))) == ()
    assert stage.attributes((), (RegionText(NEAR, "brown"),)) == ()
    assert stage.attributes((DOG,), ()) == ()
