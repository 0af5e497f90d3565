from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grand_pipeline.columns import ATTRIBUTES, DEPTH_MAP, INSTANCES, PLACEMENTS
from grand_pipeline.types import Attribute, Box, DepthMap, Instance, Placement, Status
from stages.level3.grand_v1_placement import GrandV1Placement
from tests.records import record_of

SIZE = (100, 1000)


def columns(*values: float) -> DepthMap:
    """A map of upright stripes over the whole image, each as wide as the others."""
    return DepthMap.of(np.repeat(np.array([values], np.float32), 8, axis=0).repeat(8, axis=1))


def thing(number: int, x: float, status: Status = "object") -> Instance:
    box: Box = (x, 40, x + 20, 60)
    return Instance(number, status, None, box, 0.5, "dog")


def place(
    instances: tuple[Instance, ...], depth: DepthMap, *told: Attribute, **options: Any
) -> tuple[Placement, ...]:
    return GrandV1Placement(**options).place(instances, told, depth, SIZE)


FIVE = tuple(thing(n, 90 + 200 * n) for n in range(5))
STEPS = columns(100, 95, 50, 20, 0.5)


def test_layers_follow_the_depth_between_nearest_and_farthest() -> None:
    found = place(FIVE, STEPS)
    assert [p.layer for p in found] == [
        "Immediate Foreground", "Immediate Foreground", "Foreground", "Midground", "Background",
    ]  # fmt: skip
    assert [p.depth for p in found] == pytest.approx([100, 95, 50, 20, 0.5], abs=0.1)


def test_equal_depths_are_all_foreground() -> None:
    assert {p.layer for p in place(FIVE, columns(7, 7))} == {"Foreground"}


def test_depths_are_rounded() -> None:
    assert place(FIVE[:1], columns(1.234375))[0].depth == 1.23
    assert place(FIVE[:1], columns(1.234375), decimals=6)[0].depth == 1.234375


def test_floating_objects_have_depth_but_set_no_range_and_join_no_group() -> None:
    floating = thing(9, 95, "floating")
    found = {p.object_id: p for p in place((*FIVE[1:3], floating), STEPS)}
    assert [found[1].layer, found[2].layer, found[9].layer] == [
        "Immediate Foreground", "Background", "Immediate Foreground",
    ]  # fmt: skip
    assert [found[1].group, found[2].group, found[9].group] == [0, 1, 2]


def test_d13c_floating_objects_have_no_depth_beside_objects() -> None:
    mixed = (FIVE[0], thing(9, 290, "floating"))
    assert [p.object_id for p in place(mixed, STEPS)] == [0, 9]
    assert [p.object_id for p in place(mixed, STEPS, defects=("D13c",))] == [0]
    alone = (thing(9, 290, "floating"),)
    assert [p.object_id for p in place(alone, STEPS, defects=("D13c",))] == [9]


def test_d13c_depth_has_256_steps() -> None:
    depth = columns(0.25, 0.75, 510)
    instances = (thing(0, 100), thing(1, 490))
    assert [p.depth for p in place(instances, depth)] == pytest.approx([0.25, 0.75], abs=0.1)
    rough = [p.depth for p in place(instances, depth, defects=("D13c",))]
    assert rough[0] == rough[1]


def test_d19_nodes_beyond_the_cap_join_no_group() -> None:
    crowd = tuple(thing(n, 100 + n) for n in range(5))
    told = [Attribute(n, "a", "red") for n in range(3)]
    flat = columns(1, 1)
    assert [p.group for p in place(crowd, flat, *told, max_nodes=2)] == [0, 0, 1, 1, 1]
    published = place(crowd, flat, *told, max_nodes=2, defects=("D19",))
    assert [p.group for p in published] == [0, 0, 0, 0, 1]


def test_the_group_distance_is_in_pixels() -> None:
    near = (thing(0, 100), thing(1, 250))
    assert [p.group for p in place(near, columns(1, 1))] == [0, 0]
    assert [p.group for p in place(near, columns(1, 1), group_distance=150.0)] == [0, 1]


def test_cuts_must_rise() -> None:
    with pytest.raises(ValueError, match="rise"):
        GrandV1Placement(cuts=(0.5, 0.2, 0.9))


def test_annotate_reads_columns() -> None:
    values = {
        INSTANCES: FIVE,
        ATTRIBUTES.of("grit"): (Attribute(0, "grit", "a dog"),),
        DEPTH_MAP: STEPS,
    }
    (row,) = GrandV1Placement().annotate(None, [record_of(values, SIZE)])
    assert [p.object_id for p in row[PLACEMENTS]] == [0, 1, 2, 3, 4]
    (row,) = GrandV1Placement().annotate(None, [record_of(values | {INSTANCES: ()}, SIZE)])
    assert row[PLACEMENTS] == ()
