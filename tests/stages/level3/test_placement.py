from __future__ import annotations

import numpy as np
import pytest

from grand_pipeline.columns import DEPTH_MAP, INSTANCES, MASKS, PLACEMENTS
from grand_pipeline.geometry import rle_encode
from grand_pipeline.types import LAYERS, Box, DepthMap, Instance, ObjectMask, Status
from stages.level3.placement import Placement
from tests.records import record_of

SIZE = (100, 200)
# Left half far (0), right half near (1), one very near cell in the right lower corner.
GRID = np.zeros((10, 20), np.float32)
GRID[:, 10:] = 1
GRID[8:, 18:] = 2
DEPTH = DepthMap.of(GRID)


def thing(index: int, box: Box, status: Status = "object") -> Instance:
    return Instance(index, status, "thing", box, 0.5, "dog")


def mask(index: int, box: tuple[int, int, int, int]) -> ObjectMask:
    pixels = np.zeros(SIZE, bool)
    pixels[box[1] : box[3], box[0] : box[2]] = True
    return ObjectMask(index, rle_encode(pixels), "box", 1.0)


def test_depth_comes_from_the_mask_not_the_box() -> None:
    wide = thing(3, (0, 0, 200, 100))
    (place,) = Placement().place((wide,), (mask(3, (120, 10, 160, 50)),), DEPTH, SIZE)
    assert (place.object_id, place.depth) == (3, 1.0)


@pytest.mark.parametrize("masks", [(), (mask(0, (5, 5, 5, 5)),)], ids=["none", "empty"])
def test_without_mask_the_box_is_used(masks: tuple[ObjectMask, ...]) -> None:
    (place,) = Placement().place((thing(0, (110, 10, 150, 50)),), masks, DEPTH, SIZE)
    assert place.depth == 1.0


def test_a_box_between_pixels_has_the_depth_of_its_cell() -> None:
    (place,) = Placement().place((thing(0, (190.1, 90.1, 190.2, 90.2)),), (), DEPTH, SIZE)
    assert place.depth == 2.0


def test_layers_follow_the_range_of_voted_objects() -> None:
    far, near = thing(0, (10, 10, 30, 30)), thing(1, (110, 10, 130, 30))
    nearest = thing(2, (182, 82, 198, 98), "floating")
    places = Placement().place((far, near, nearest), (), DEPTH, SIZE)
    assert [p.layer for p in places] == [LAYERS[3], LAYERS[0], LAYERS[0]]
    voted = thing(2, (182, 82, 198, 98))
    places = Placement().place((far, near, voted), (), DEPTH, SIZE)
    assert [p.layer for p in places] == [LAYERS[3], LAYERS[1], LAYERS[0]]


def test_group_distance_is_relative_to_the_longer_side() -> None:
    row = tuple(thing(k, (10 + 30 * k, 10, 30 + 30 * k, 30)) for k in range(3))
    flat = DepthMap.of(np.ones((2, 2), np.float32))
    chained = Placement(group_distance=0.16).place(row, (), flat, SIZE)
    apart = Placement(group_distance=0.14).place(row, (), flat, SIZE)
    assert [p.group for p in chained] == [0, 0, 0]
    assert [p.group for p in apart] == [0, 1, 2]


def test_groups_go_by_the_boxes_that_are_published() -> None:
    row = (thing(0, (10, 10, 30, 30)), thing(1, (40, 10, 60, 30)))
    flat = DepthMap.of(np.ones((2, 2), np.float32))
    near = mask(1, (40, 10, 60, 30))
    far = ObjectMask(1, near.mask, "box", 1.0, (150, 10, 190, 30))
    together = Placement(group_distance=0.2).place(row, (near,), flat, SIZE)
    apart = Placement(group_distance=0.2).place(row, (far,), flat, SIZE)
    assert [p.group for p in together] == [0, 0]
    assert [p.group for p in apart] == [0, 1]


def test_stuff_does_not_chain_things() -> None:
    left, right = thing(0, (10, 10, 30, 30)), thing(1, (70, 10, 90, 30))
    grass = Instance(2, "object", "stuff", (0, 0, 100, 40), 0.5, "grass")
    flat = DepthMap.of(np.ones((2, 2), np.float32))
    places = Placement(group_distance=0.2).place((left, right, grass), (), flat, SIZE)
    assert len({p.group for p in places}) == 3


def test_cuts_must_rise() -> None:
    with pytest.raises(ValueError, match="rise"):
        Placement(cuts=(0.5, 0.2, 0.9))


def test_annotate_gives_one_placement_per_instance() -> None:
    values = {
        INSTANCES: (thing(0, (10, 10, 30, 30)), thing(5, (110, 10, 130, 30))),
        MASKS: (mask(5, (110, 10, 130, 30)),),
        DEPTH_MAP: DEPTH,
    }
    (row,) = Placement().annotate(None, [record_of(values, SIZE)])
    assert [p.object_id for p in row[PLACEMENTS]] == [0, 5]
    empty = values | {INSTANCES: (), MASKS: ()}
    (row,) = Placement().annotate(None, [record_of(empty, SIZE)])
    assert row[PLACEMENTS] == ()
