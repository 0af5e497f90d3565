"""Records in memory, as a worker would hand them to a stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from grand_pipeline import geometry
from grand_pipeline.columns import Column
from grand_pipeline.record import Record
from grand_pipeline.types import Box, Instance, Kind, Size, Vote

ODD_SIZES: tuple[Size, ...] = ((1, 1), (3, 2000), (500, 3), (3, 3), (1, 40))


def record(
    size: Size = (40, 60), values: Mapping[Column[Any], Any] | None = None, seed: int = 0
) -> Record:
    """A record of (height, width) noise with decoded `values`."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    image = Image.fromarray(pixels)
    plain = {column.name: column.encode(value) for column, value in (values or {}).items()}
    return Record(f"{seed:032x}", f"{seed}.png", size[1], size[0], plain, lambda: image)


def instance(
    object_id: int, box: Box, label: str = "cat", *votes: Vote, kind: Kind | None = "thing"
) -> Instance:
    """An object with its own label as its only vote unless votes are given."""
    return Instance(
        object_id, "object", kind, box, 0.9, label, votes or (Vote("fake", label, 0.9),)
    )


def inside(box: Box, size: Size) -> bool:
    """Whether a box is not empty and inside an image of (height, width)."""
    x1, y1, x2, y2 = box
    return bool(0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0])


def filled(box: tuple[int, int, int, int], size: Size) -> Any:
    """RLE of a filled box."""
    mask = np.zeros(size, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return geometry.rle_encode(mask)
