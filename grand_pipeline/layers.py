"""Depth of objects, depth layers and groups of near objects. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.types import LAYERS, BoolArray, Box, FloatArray, Size

CUTS = (0.1, 0.6, 0.85)
"""Upper ends of the first three layers on the scale 0 (nearest) to 1 (farthest)."""


def depth_inside(mask: BoolArray, depth: FloatArray) -> float:
    """Median of a depth map under a mask of the whole image.

    The mask (h, w) is laid over the grid (gh, gw) of the map. Cells count with their covered
    area; cells covered by less than half only count where no cell is, since depth is blurred at
    the border of an object. An empty mask gives NaN.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return float("nan")
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    row_cells = _cells(np.arange(top, rows[-1] + 1), mask.shape[0], depth.shape[0])
    column_cells = _cells(np.arange(left, columns[-1] + 1), mask.shape[1], depth.shape[1])
    row_starts, column_starts = _starts(row_cells), _starts(column_cells)
    covered = np.add.reduceat(part, row_starts, axis=0, dtype=np.int64)
    covered = np.add.reduceat(covered, column_starts, axis=1)
    values = depth[np.ix_(row_cells[row_starts], column_cells[column_starts])]
    full = (mask.shape[0] / depth.shape[0]) * (mask.shape[1] / depth.shape[1])
    inner = covered * (covered >= full / 2)
    return _weighted_median(values, inner if inner.any() else covered)


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


def groups(
    centres: NDArray[np.floating], layers: Sequence[str], alone: Sequence[bool], distance: float
) -> list[int]:
    """Group number of each object: chains of objects of one layer with steps < `distance`.

    `centres` (n, 2) are x, y in the unit of `distance`. Objects marked `alone` (regions, whose
    centre says little) join nobody. Numbers run from 0, near layers first, then in input order,
    and do not depend on which object of a chain comes first.
    """
    points = np.asarray(centres, np.float64).reshape(-1, 2)
    far = np.linalg.norm(points[:, None] - points[None, :], axis=2)
    ranks = np.array([LAYERS.index(layer) for layer in layers], np.int64)
    single = np.asarray(alone, bool)
    near = (far < distance) & (ranks[:, None] == ranks[None, :])
    near &= ~(single[:, None] | single[None, :])
    chain = list(range(len(points)))
    for i, j in np.argwhere(np.triu(near, 1)).tolist():
        a, b = sorted((_root(chain, i), _root(chain, j)))
        chain[b] = a
    roots = [_root(chain, i) for i in range(len(points))]
    numbers = {
        root: number
        for number, root in enumerate(sorted(set(roots), key=lambda i: (int(ranks[i]), i)))
    }
    return [numbers[root] for root in roots]


def _root(chain: list[int], index: int) -> int:
    while chain[index] != index:
        index = chain[index]
    return index


def _cells(pixels: NDArray[np.int64], length: int, cells: int) -> NDArray[np.int64]:
    """The cell of each pixel when `cells` cells are stretched over `length` pixels."""
    return np.minimum(((pixels + 0.5) * cells / length).astype(np.int64), cells - 1)


def _starts(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each run of equal, rising cell numbers starts."""
    return np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))


def _weighted_median(values: FloatArray, weights: NDArray[np.int64]) -> float:
    order = np.argsort(values, axis=None, kind="stable")
    total = np.cumsum(weights.ravel()[order])
    return float(values.ravel()[order][np.searchsorted(total, total[-1] / 2)])
