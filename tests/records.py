"""Records with given column values and no image, for tests of stages that read columns only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL.Image import Image

from grand_pipeline.columns import Column
from grand_pipeline.record import Record
from grand_pipeline.types import Size


def record_of(values: Mapping[Column[Any], Any], size: Size = (100, 100)) -> Record:
    """A record of an image of `size` (height, width) whose pixels must not be looked at."""
    plain = {column.name: column.encode(value) for column, value in values.items()}
    return Record("0" * 32, "memory:image", size[1], size[0], plain, _no_image)


def _no_image() -> Image:
    raise AssertionError("this stage declares needs_image = False")
