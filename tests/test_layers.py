from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import geometry
from grand_pipeline.layers import connected, coordinates, depth_at, depth_inside, groups, layer_of
from grand_pipeline.types import LAYERS


def ramp(height: int, width: int) -> np.ndarray:
    """A map whose cell (r, c) holds r * 10 + c."""
    rows, columns = np.mgrid[:height, :width]
    return (rows * 10 + columns).astype(np.float32)


def under(mask: np.ndarray, depth: np.ndarray) -> float:
    """The depth under a mask."""
    return depth_inside(geometry.rle_spans(geometry.rle_encode(mask)), depth, mask.shape)


def test_depth_is_the_median_of_covered_cells() -> None:
    mask = np.zeros((40, 40), bool)
    mask[0:10, 0:30] = True  # cells (0, 0), (0, 1), (0, 2)
    assert under(mask, ramp(4, 4)) == 1


def test_border_cells_count_only_when_nothing_else_is_covered() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True  # all of cell (1, 1)
    mask[12:18, 20:24] = True  # a little of cell (1, 2)
    assert under(mask, ramp(4, 4)) == 11
    mask[10:20, 10:20] = False
    assert under(mask, ramp(4, 4)) == 12


def test_depth_of_a_grid_finer_than_the_image() -> None:
    mask = np.zeros((2, 2), bool)
    mask[1, 1] = True
    assert under(mask, ramp(4, 4)) in (22.0, 23.0, 32.0, 33.0)


def test_empty_mask_has_no_depth() -> None:
    assert math.isnan(under(np.zeros((4, 4), bool), ramp(2, 2)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_depth_lies_within_the_map(rows: int, columns: int, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((side, side + 3)) < 0.3
    depth = rng.random((rows, columns)).astype(np.float32)
    value = under(mask, depth)
    assert math.isnan(value) if not mask.any() else depth.min() <= value <= depth.max()


def pixelwise(mask: np.ndarray, depth: np.ndarray) -> float:
    """The depth under a mask, by counting its pixels one by one."""
    cells = (
        np.minimum(((pixels + 0.5) * count / length).astype(int), count - 1)
        for pixels, count, length in zip(mask.nonzero(), depth.shape, mask.shape, strict=True)
    )
    covered = np.zeros(depth.shape, int)
    np.add.at(covered, tuple(cells), 1)
    least = (mask.shape[0] / depth.shape[0]) * (mask.shape[1] / depth.shape[1]) / 2
    inner = np.where(covered >= least, covered, 0)
    ranked = np.sort(np.repeat(depth.ravel(), (inner if inner.any() else covered).ravel()))
    return float(ranked[(len(ranked) - 1) // 2]) if len(ranked) else math.nan


@given(st.tuples(*[st.integers(1, 40)] * 4), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_depth_counts_the_pixels_of_each_cell(
    sides: tuple[int, int, int, int], share: float, seed: int
) -> None:
    height, width, rows, columns = sides
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < share
    depth = rng.random((rows, columns), np.float32)
    np.testing.assert_equal(under(mask, depth), pixelwise(mask, depth))


def test_depth_at_the_centre_stays_inside() -> None:
    assert depth_at((0, 0, 10, 10), ramp(4, 4), (40, 40)) == 0
    assert depth_at((80, 80, 90, 90), ramp(4, 4), (40, 40)) == 33


def test_coordinates_run_from_nearest_to_farthest_reference() -> None:
    assert coordinates([9, 5, 1], [True, True, True]).tolist() == [0, 0.5, 1]
    assert coordinates([9, 5, 1], [False, True, True]).tolist() == [0, 0, 1]
    assert coordinates([9, 5, 1], [False, False, False]).tolist() == [0, 0.5, 1]
    assert coordinates([3, 3], [True, True]).tolist() == [0.5, 0.5]
    assert coordinates([], []).tolist() == []
    assert coordinates([0, 2, 1e-308], [True, False, True]).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("place", "layer"),
    [(0, 0), (0.09, 0), (0.1, 1), (0.59, 1), (0.6, 2), (0.84, 2), (0.85, 3), (1, 3)],
)
def test_layer_cuts(place: float, layer: int) -> None:
    assert layer_of(place) == LAYERS[layer]


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), max_size=12))
def test_layers_are_monotone_in_depth(nodes: list[tuple[float, bool]]) -> None:
    depths = [depth for depth, _ in nodes]
    places = coordinates(depths, [reference for _, reference in nodes])
    ranks = [LAYERS.index(layer_of(float(place))) for place in places]
    for first, rank in zip(depths, ranks, strict=True):
        for second, other in zip(depths, ranks, strict=True):
            assert first <= second or rank <= other


def test_groups_are_chains_inside_a_layer() -> None:
    near, far = LAYERS[0], LAYERS[3]
    centres = np.array([[0, 0], [30, 0], [15, 0], [15, 1], [90, 0]], float)
    layers = [far, near, near, far, near]
    assert groups(centres, layers, [False] * 5, 20) == [2, 0, 0, 2, 1]
    assert groups(centres, layers, [False] * 5, 10) == [3, 0, 1, 4, 2]


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=20))
def test_connected_nodes_have_one_head(edges: list[tuple[int, int]]) -> None:
    heads = list(range(15))
    for a, b in edges:
        low, high = sorted((heads[a], heads[b]))
        heads = [low if head == high else head for head in heads]
    i, j = np.array(edges, np.int64).reshape(-1, 2).T
    assert connected(15, i, j).tolist() == heads


def test_regions_join_nobody() -> None:
    centres = np.zeros((3, 2))
    assert groups(centres, [LAYERS[1]] * 3, [False, True, False], 5) == [0, 1, 0]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), max_size=9))
def test_groups_do_not_depend_on_order(nodes: list[tuple[int, int, int]]) -> None:
    def parts(chosen: list[tuple[int, int, int]]) -> set[frozenset[tuple[int, int, int]]]:
        centres = np.array([(x, y) for x, y, _ in chosen], float).reshape(-1, 2)
        names = [LAYERS[layer] for *_, layer in chosen]
        numbers = groups(centres, names, [False] * len(chosen), 2.5)
        assert sorted(set(numbers)) == list(range(len(set(numbers))))
        return {
            frozenset(n for n, number in zip(chosen, numbers, strict=True) if number == one)
            for one in numbers
        }

    assert parts(nodes) == parts(nodes[::-1])
