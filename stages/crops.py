"""Images and crops as models can take them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from grand_pipeline.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_SIDE = 8
"""Pixels. Image processors misread narrower arrays as channels or round a side down to 0."""


def workable(image: Image, aspect: float = 4.0) -> Image:
    """`image`, its short side stretched if it is under LEAST_SIDE or the sides differ by more
    than `aspect`.

    Processors that keep the aspect ratio would otherwise blow a strip of 3 x 2000 pixels up to
    hundreds of megapixels, or shrink its short side to nothing.
    """
    least = max(LEAST_SIDE, math.ceil(max(image.size) / aspect))
    width, height = max(image.width, least), max(image.height, least)
    return image if (width, height) == image.size else image.resize((width, height))


def crop(image: Image, box: Box, margin: float = 0.0) -> Image:
    """The part of `image` inside `box`, widened by `margin` of the box's sides.

    Cut to the image and at least one pixel large.
    """
    x1, y1, x2, y2 = box
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    left = min(max(0, math.floor(x1 - dx)), image.width - 1)
    top = min(max(0, math.floor(y1 - dy)), image.height - 1)
    right = min(max(left + 1, math.ceil(x2 + dx)), image.width)
    bottom = min(max(top + 1, math.ceil(y2 + dy)), image.height)
    return image.crop((left, top, right, bottom))
