"""Depth of objects, depth layers and groups of near objects. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.types import LAYERS, BoolArray, Box, FloatArray, Size

IntArray = NDArray[np.int64]
Spans = tuple[IntArray, IntArray, IntArray]
"""Pixels of an image, as `geometry.Spans` has them."""

CUTS = (0.1, 0.6, 0.85)
"""Upper ends of the first three layers on the scale 0 (nearest) to 1 (farthest)."""


def depth_inside(spans: Spans, depth: FloatArray, size: Size) -> float:
    """Median of a depth map under the pixels of a mask of an image of `size` (height, width).

    The image is laid over the grid (gh, gw) of the map. Cells count with their covered area; cells
    covered by less than half only count where no cell is, since depth is blurred at the border of
    an object. An empty mask gives NaN.
    """
    columns, tops, bottoms = spans
    if not len(columns):
        return float("nan")
    rows, edges = _cells(size[0], depth.shape[0])[1:]
    across = _cells(size[1], depth.shape[1])[0][columns]
    first = int(edges.searchsorted(tops.min(), "right")) - 1
    last = int(edges.searchsorted(bottoms.max()))
    edge = edges[first : last + 1]
    above = np.minimum(bottoms[:, None], edge) - np.minimum(tops[:, None], edge)
    starts = _starts(across)
    above = np.add.reduceat(above, starts, axis=0)
    covered = above[:, 1:] - above[:, :-1]
    values = depth[rows[first:last], across[starts][:, None]]
    chosen = covered >= (size[0] / depth.shape[0]) * (size[1] / depth.shape[1]) / 2
    if not chosen.any():
        chosen = covered > 0
    return _weighted_median(values[chosen], covered[chosen])


def depth_at(box: Box, depth: FloatArray, size: Size) -> float:
    """The depth map's value in the cell under the centre of a box; `size` is (height, width)."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    row = min(depth.shape[0] - 1, max(0, int(y * depth.shape[0] / size[0])))
    column = min(depth.shape[1] - 1, max(0, int(x * depth.shape[1] / size[1])))
    return float(depth[row, column])


def coordinates(depths: Sequence[float], reference: Sequence[bool]) -> FloatArray:
    """Place (n,) of each depth between the nearest (0) and the farthest (1) reference object.

    Objects outside the range of the references are put at its ends; 0.5 for all if the
    references do not differ. Without any reference every object is one.
    """
    values = np.asarray(depths, np.float64)
    chosen = values[np.asarray(reference, bool)] if any(reference) else values
    if not len(chosen) or chosen.max() <= chosen.min():
        return np.full(len(values), 0.5, np.float32)
    nearest, farthest = chosen.max(), chosen.min()
    places = (nearest - np.clip(values, farthest, nearest)) / (nearest - farthest)
    return np.asarray(places, np.float32)


def layer_of(place: float, cuts: tuple[float, float, float] = CUTS) -> str:
    """The layer of a coordinate in [0, 1]; a coordinate on a cut belongs to the farther layer."""
    return LAYERS[sum(place >= cut for cut in cuts)]


def layers_of(places: FloatArray, cuts: tuple[float, float, float] = CUTS) -> list[str]:
    """`layer_of` of many coordinates (n,)."""
    passed = places[:, None] >= np.array(cuts, places.dtype)
    return [LAYERS[number] for number in passed.sum(axis=1).tolist()]


def groups(
    centres: NDArray[np.floating], layers: Sequence[str], alone: Sequence[bool], distance: float
) -> list[int]:
    """Group number of each object: chains of objects of one layer with steps < `distance`.

    `centres` (n, 2) are x, y in the unit of `distance`. Objects marked `alone` (regions, whose
    centre says little) join nobody. Numbers run from 0, near layers first, then in input order,
    and do not depend on which object of a chain comes first.
    """
    points = np.asarray(centres, np.float64).reshape(-1, 2)
    ranks = np.array([LAYERS.index(layer) for layer in layers], np.int64)
    heads = _chains(points, ranks, np.asarray(alone, bool), distance)
    # The first object of a chain stands for it.
    firsts = np.flatnonzero(heads == np.arange(len(heads)))
    numbers = np.empty(len(heads), np.int64)
    numbers[firsts[np.argsort(ranks[firsts], kind="stable")]] = np.arange(len(firsts))
    found: list[int] = numbers[heads].tolist()
    return found


def _chains(
    points: NDArray[np.float64], ranks: NDArray[np.int64], alone: BoolArray, distance: float
) -> NDArray[np.int64]:
    """The first point of the chain of each point (n,)."""
    from scipy.spatial import cKDTree

    free = np.flatnonzero(~alone)
    if distance <= 0 or len(free) < 2:
        return np.arange(len(points))
    # Layers are set apart in a third dimension, farther than any step.
    apart = np.column_stack([points, ranks * (2.0 * distance)])[free]
    # A little wider, because the tree rounds in its own way; the exact test is below.
    pairs = free[cKDTree(apart).query_pairs(1.0001 * distance, output_type="ndarray")]
    i, j = pairs.T
    near = np.linalg.norm(points[i] - points[j], axis=1) < distance
    return connected(len(points), i[near], j[near])


def connected(count: int, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first of the nodes (count,) that each node is connected with by edges i, j (e,).

    The heads of the two ends of an edge are made one until no edge has two, and every node follows
    its head's head, so that long chains take few rounds.
    """
    heads = np.arange(count)
    while True:
        a, b = heads[i], heads[j]
        apart = a != b
        if not apart.any():
            return heads
        i, j, a, b = i[apart], j[apart], a[apart], b[apart]
        np.minimum.at(heads, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(heads, above := heads[heads]):
            heads = above


@lru_cache(maxsize=64)
def _cells(length: int, cells: int) -> tuple[IntArray, IntArray, IntArray]:
    """`cells` cells stretched over `length` pixels: the cell of each pixel, which cells have any,
    and where those start and the last of them ends."""
    places = ((np.arange(length) + 0.5) * cells / length).astype(np.int64)
    every = np.minimum(places, cells - 1)
    starts = _starts(every)
    return every, every[starts], np.append(starts, length)


def _starts(rising: IntArray) -> IntArray:
    """Where each run of equal, rising numbers starts, of which there are some."""
    new = np.ones(len(rising), bool)
    np.not_equal(rising[1:], rising[:-1], out=new[1:])
    return new.nonzero()[0]


def _weighted_median(values: FloatArray, weights: IntArray) -> float:
    order = values.argsort(kind="stable")
    total = weights[order].cumsum()
    return float(values[order[total.searchsorted(total[-1] / 2)]])
