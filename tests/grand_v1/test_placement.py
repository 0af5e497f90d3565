"""Depth inside boxes and groups around seeds."""

from __future__ import annotations

import math

import numpy as np

from grand_pipeline.grand_v1 import placement
from grand_pipeline.types import Box


def test_the_median_skips_zeros_and_the_box_is_cut_to_whole_pixels() -> None:
    depth = np.array([[0, 1, 2, 90], [0, 3, 9, 90]], np.float32)
    assert placement.depth_in((-3.0, 0.0, 3.9, 2.0), depth) == 2.5
    assert math.isnan(placement.depth_in((0, 0, 1, 2), depth))


def test_d13c_depth_is_kept_in_256_steps() -> None:
    depth = np.array([[0.0, 1.001, 510.0]], np.float32)
    assert np.allclose(placement.depth_image(depth, (1, 3)), depth, atol=1e-3)
    assert np.allclose(placement.depth_image(depth, (1, 3), eight_bit=True), [[0, 2, 510]], 1e-3)


def test_a_flat_map_stays_flat_in_eight_bits() -> None:
    flat = np.full((2, 2), 7, np.float32)
    assert (placement.depth_image(flat, (4, 4), eight_bit=True) == 7).all()


def at(x: float) -> Box:
    return x - 10, 0, x + 10, 20


def test_groups_form_around_the_first_and_not_in_chains() -> None:
    boxes = [at(100), at(250), at(350)]
    assert placement.groups(boxes, ["Foreground"] * 3, 200) == [0, 0, 1]
    # The same three from the middle one: all within reach of the seed.
    assert placement.groups([at(250), at(100), at(350)], ["Foreground"] * 3, 200) == [0, 0, 0]


def test_the_distance_itself_is_too_far() -> None:
    assert placement.groups([at(0), at(200)], ["Midground"] * 2, 200) == [0, 1]


def test_group_numbers_run_on_from_near_layers_to_far() -> None:
    layers = ["Background", "Immediate Foreground", "Background"]
    assert placement.groups([at(0), at(0), at(900)], layers, 200) == [1, 0, 2]
    assert placement.groups([], [], 200) == []
