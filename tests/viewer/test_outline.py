"""Outlines of masks: filled again, they are the masks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from grand_pipeline.geometry import rle_encode
from grand_pipeline.types import BoolArray, Rle
from grand_pipeline.viewer.outline import FINEST, outline


def _loops(path: str) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in (point.split() for point in loop.split("L"))]
        for loop in re.findall(r"M([^Z]+)Z", path)
    ]


def _area(loop: list[tuple[float, float]]) -> float:
    """Positive for a loop that runs clockwise where y grows downwards."""
    ends = [*loop[1:], loop[0]]
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(loop, ends, strict=True)) / 2


def _filled(path: str, size: tuple[int, int]) -> BoolArray:
    """The pixels whose middles the path surrounds, by crossing numbers."""
    height, width = size
    inside = np.zeros(size, bool)
    for loop in _loops(path):
        picture = Image.new("1", (4 * width, 4 * height))
        ImageDraw.Draw(picture).polygon([(4 * x, 4 * y) for x, y in loop], fill=1)
        inside ^= np.asarray(picture)[2::4, 2::4]
    return inside


def test_a_rectangle_loses_its_corners_only() -> None:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    [loop] = _loops(outline(rle_encode(mask)))
    assert set(loop) == {
        *((2.5, 1), (6.5, 1), (7, 1.5), (7, 3.5)),
        *((6.5, 4), (2.5, 4), (2, 3.5), (2, 1.5)),
    }
    assert _area(loop) == 3 * 5 - 4 * 0.125


def test_a_hole_runs_the_other_way_round() -> None:
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    areas = [_area(loop) for loop in _loops(outline(rle_encode(mask)))]
    assert sorted(np.sign(areas)) == [-1, 1]


def test_cells_that_touch_in_a_corner_stay_apart() -> None:
    mask = np.eye(2, dtype=bool)
    assert [_area(loop) for loop in _loops(outline(rle_encode(mask)))] == [0.5, 0.5]


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_filled_again_it_is_the_mask(mask: BoolArray) -> None:
    assert (_filled(outline(rle_encode(mask)), mask.shape) == mask).all()


def test_an_empty_mask_has_no_outline() -> None:
    assert outline(rle_encode(np.zeros((4, 4), bool))) == ""


def test_large_masks_are_sampled() -> None:
    mask = np.zeros((3 * FINEST, 40), bool)
    mask[600:900, 6:30] = True
    path = outline(rle_encode(mask))
    xs, ys = zip(*_loops(path)[0], strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (6, 30, 600, 900)


@pytest.mark.parametrize(
    "mask",
    [
        Rle((4, 4), "0"),
        Rle((4, 4), ""),
        Rle((4, 4), "\N{GRINNING FACE}"),
        Rle((1 << 20, 1 << 20), "0"),
        Rle((-4, 4), "04"),
    ],
)
def test_what_is_no_mask_is_refused(mask: Rle) -> None:
    with pytest.raises(ValueError):
        outline(mask)
