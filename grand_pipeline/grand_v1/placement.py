"""Depth of objects in their boxes, and groups of objects around seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from grand_pipeline.types import LAYERS, Box, FloatArray, Size


def depth_image(depth: FloatArray, size: Size, *, eight_bit: bool = False) -> FloatArray:
    """A depth map (h, w) at the image's `size` (height, width), bicubic as GranD keeps it.

    `eight_bit`: in 256 steps between its ends, as GranD stores it (D13c).
    """
    image = Image.fromarray(np.asarray(depth, np.float32))
    full = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.float32)
    low, high = float(full.min()), float(full.max())
    if not eight_bit or high <= low:
        return full
    steps = np.round((full - low) / (high - low) * 255)
    return np.asarray(steps / 255 * (high - low) + low, np.float32)


def depth_in(box: Box, depth: FloatArray) -> float:
    """Median of the values other than 0 in a box, its corners cut to whole pixels; NaN if none."""
    height, width = depth.shape
    x1, y1, x2, y2 = (int(value) for value in box)
    part = depth[max(0, y1) : min(height, y2), max(0, x1) : min(width, x2)]
    values = part[part != 0]
    return float(np.median(values)) if values.size else float("nan")


def groups(boxes: Sequence[Box], layers: Sequence[str], distance: float) -> list[int]:
    """Group number of each object: the first free one of a layer is a seed and takes all free
    ones whose centre is closer than `distance` pixels. Numbers run on from near layers to far."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    numbers = [-1] * len(boxes)
    group = 0
    for layer in LAYERS:
        free = [n for n, name in enumerate(layers) if name == layer]
        while free:
            far = np.linalg.norm(centres[free] - centres[free[0]], axis=1)
            near = [n for n, away in zip(free, far, strict=True) if n == free[0] or away < distance]
            for n in near:
                numbers[n] = group
            free = [n for n in free if n not in near]
            group += 1
    return numbers
