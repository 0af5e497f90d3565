"""Masks as outlines: paths of SVG, sharp at any size, that know whether a pointer is inside."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from grand_pipeline.geometry import rle_decode
from grand_pipeline.images import MAX_PIXELS
from grand_pipeline.types import BoolArray, Rle

FINEST = 512
"""Cells of the longer side of the grid on which an outline is drawn; larger masks are sampled."""

Point = tuple[float, float]
_Corner = tuple[int, int]


def outline(mask: Rle) -> str:
    """SVG path data of a mask in pixels of its image; "" for an empty one.

    The path joins the middles of the pixels' outer edges, so its corners are cut by half a pixel at
    most. Holes run the other way round. Raises ValueError when the runs do not fill the size, or
    the size is beyond that of any picture.
    """
    height, width = mask.size
    if not 0 <= height * width <= MAX_PIXELS:
        raise ValueError(f"no picture has the mask's {height} x {width} pixels")
    step = max(1, -(-max(height, width) // FINEST))
    cells = rle_decode(mask)[::step, ::step]
    loops = (_middles(loop) for loop in _loops(cells))
    return "".join(_path(loop, step, (width, height)) for loop in loops)


def _loops(cells: BoolArray) -> list[list[_Corner]]:
    """Closed loops of corners (x, y) around the true cells, one step from corner to corner.

    Each edge between a true and a false cell is walked once, the true one at its right. Where two
    true cells touch in a corner alone, the loop turns right and keeps them apart.
    """
    onward = _edges(cells)
    loops = []
    while onward:
        start = next(iter(onward))
        loop, at, before = [start], start, None
        while True:
            before, at = at, _leave(onward, at, before)
            if at == start:
                break
            loop.append(at)
        loops.append(loop)
    return loops


def _edges(cells: BoolArray) -> dict[_Corner, list[_Corner]]:
    """Corner -> the corners to which edges lead from it."""
    padded = np.pad(cells, 1)
    inside = padded[1:-1, 1:-1]
    onward: dict[_Corner, list[_Corner]] = defaultdict(list)
    # (the neighbour that is false, where the edge begins and ends, seen from the cell's corner)
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for neighbour, (x1, y1), (x2, y2) in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
            onward[x + x1, y + y1].append((x + x2, y + y2))
    return onward


def _leave(onward: dict[_Corner, list[_Corner]], at: _Corner, before: _Corner | None) -> _Corner:
    """Take the next edge out of the map: of two, the one that turns right."""
    ways = onward[at]
    place = 0
    if len(ways) > 1 and before is not None:
        right = (at[0] - (at[1] - before[1]), at[1] + (at[0] - before[0]))
        place = ways.index(right) if right in ways else 0
    taken = ways.pop(place)
    if not ways:
        del onward[at]
    return taken


def _middles(loop: list[_Corner]) -> list[Point]:
    """The middles of a loop's edges, without those on a straight line."""
    ends = [*loop[1:], loop[0]]
    middles = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in zip(loop, ends, strict=True)]
    return [
        point
        for last, point, after in zip(
            (middles[-1], *middles[:-1]), middles, (*middles[1:], middles[0]), strict=True
        )
        if (point[0] - last[0], point[1] - last[1]) != (after[0] - point[0], after[1] - point[1])
    ]


def _path(points: list[Point], step: int, size: tuple[int, int]) -> str:
    width, height = size
    scaled = (f"{min(x * step, width):g} {min(y * step, height):g}" for x, y in points)
    return f"M{'L'.join(scaled)}Z"
