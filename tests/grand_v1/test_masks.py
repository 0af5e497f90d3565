"""Which mask belongs to which object."""

from __future__ import annotations

from grand_pipeline.grand_v1 import masks
from grand_pipeline.types import Box

OBJECTS: list[Box] = [(0, 0, 99, 89), (0, 0, 99, 99)]
MASKS: list[Box] = [(300, 300, 310, 310), (0, 0, 99, 99)]


def test_d9_one_mask_serves_many_objects() -> None:
    assert masks.match(OBJECTS, MASKS, 0.65) == {1: 1}
    assert masks.match(OBJECTS, MASKS, 0.65, ("D9",)) == {0: 1, 1: 1}


def test_a_mask_has_to_overlap_enough() -> None:
    assert masks.match([(0, 0, 99, 99)], [(0, 0, 99, 64)], 0.65) == {0: 0}
    assert masks.match([(0, 0, 99, 99)], [(0, 0, 99, 63)], 0.65) == {}
    assert masks.match([], MASKS, 0.65) == masks.match(OBJECTS, [], 0.65) == {}


def test_who_loses_its_best_mask_takes_the_next() -> None:
    spare: Box = (0, 0, 99, 84)
    assert masks.match(OBJECTS, [*MASKS, spare], 0.65) == {1: 1, 0: 2}


def test_d2_the_far_corner_is_taken_for_width_and_height() -> None:
    box: Box = (532, 76, 1485, 1299)
    assert masks.prompt(box) == box
    assert masks.prompt(box, ("D2",)) == (532, 76, 2017, 1375)
