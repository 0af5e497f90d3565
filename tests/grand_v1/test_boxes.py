"""GranD's measures of boxes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.grand_v1 import boxes
from grand_pipeline.types import Box

SIDES = st.tuples(*(st.integers(0, 40) for _ in range(4)))


def box(sides: tuple[int, int, int, int]) -> Box:
    x, y, width, height = sides
    return float(x), float(y), float(x + width), float(y + height)


def test_the_last_pixel_belongs_to_a_box() -> None:
    # 10 x 10 pixels each, 5 columns shared: with corners as points it would be 36 of 126.
    assert boxes.iou([(0, 0, 9, 9)], [(5, 0, 14, 9)])[0, 0] == 50 / 150
    assert boxes.iou([(0, 0, 0, 0)], [(0, 0, 0, 0)])[0, 0] == 1.0


def test_no_boxes_no_overlap() -> None:
    assert boxes.iou([], [(0, 0, 1, 1)]).shape == (0, 1)


@given(st.lists(SIDES, min_size=1, max_size=30), st.lists(SIDES, min_size=1, max_size=30))
def test_d12_dice_never_decides(first: list, second: list) -> None:
    """IoU >= 0.65 implies Dice >= 0.75, so asking for both is asking for one."""
    a, b = [box(s) for s in first], [box(s) for s in second]
    enough, alike = boxes.iou(a, b) >= 0.65, boxes.dice(a, b) >= 0.75
    assert np.array_equal(enough & alike, enough)


def test_dice_is_twice_the_shared_area_by_both_areas() -> None:
    assert np.isclose(boxes.dice([(0, 0, 9, 9)], [(5, 0, 14, 9)])[0, 0], 2 * 50 / 200)


def test_a_box_holds_another() -> None:
    assert boxes.holds((0, 0, 9, 9), (0, 2, 9, 5))
    assert not boxes.holds((0, 2, 9, 5), (0, 0, 9, 9))
