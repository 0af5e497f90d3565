"""How GranD measures boxes: a box holds its last row and column, so sides are longer by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.types import Box

Matrix = NDArray[np.float64]


def iou(a: Sequence[Box], b: Sequence[Box]) -> Matrix:
    """Intersection over union (n, m) with sides of `x2 - x1 + 1` pixels."""
    first, second = _array(a), _array(b)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low + 1, 0, None), axis=-1)
    union = _areas(first)[:, None] + _areas(second)[None, :] - shared
    return np.asarray(shared / union, np.float64)


def dice(a: Sequence[Box], b: Sequence[Box]) -> Matrix:
    """Dice score (n, m): twice the shared area by the sum of the areas."""
    overlap = iou(a, b)
    return np.asarray(2 * overlap / (1 + overlap), np.float64)


def area(box: Box) -> float:
    """Area of a box in square pixels, without the extra pixel: used where boxes are compared with
    the image."""
    return (box[2] - box[0]) * (box[3] - box[1])


def holds(outer: Box, inner: Box) -> bool:
    """Whether `inner` lies inside `outer`."""
    return (
        outer[0] <= inner[0]
        and outer[1] <= inner[1]
        and inner[2] <= outer[2]
        and inner[3] <= outer[3]
    )


def _array(boxes: Sequence[Box]) -> Matrix:
    return np.asarray(boxes, np.float64).reshape(-1, 4)


def _areas(boxes: Matrix) -> Matrix:
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1), np.float64)
