"""Many pictures on one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from grand_pipeline.show.style import PAPER

WIDTH = 2000
"""Most pixels of a sheet from left to right."""

_GAP = 12


def contact_sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures in a grid, all at one cell size, in reading order; a blank sheet of none."""
    if not pictures:
        return Image.new("RGB", (WIDTH // 4, WIDTH // 8), PAPER)
    columns = min(4, max(1, math.ceil(math.sqrt(len(pictures)))))
    rows = math.ceil(len(pictures) / columns)
    widest = max(picture.width for picture in pictures)
    cell = min(widest, (WIDTH - _GAP) // columns - _GAP)
    small = [_fit(picture, cell) for picture in pictures]
    heights = [max(p.height for p in small[r * columns : (r + 1) * columns]) for r in range(rows)]
    width = columns * (cell + _GAP) + _GAP
    sheet = Image.new("RGB", (width, sum(heights) + _GAP * (rows + 1)), PAPER)
    for index, picture in enumerate(small):
        row, column = divmod(index, columns)
        top = _GAP + sum(heights[:row]) + _GAP * row + (heights[row] - picture.height) // 2
        left = _GAP + column * (cell + _GAP) + (cell - picture.width) // 2
        sheet.paste(picture, (left, top))
    return sheet


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    """The picture inside a square of `cell` pixels."""
    scale = min(cell / picture.width, cell / picture.height, 1.0)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)
