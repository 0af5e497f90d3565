"""One image as a stage sees it: read-only, decoded on access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from grand_pipeline.columns import Column, Family
from grand_pipeline.types import Size

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """One image with the columns that its stage declared.

    `width` and `height` are those of the EXIF-upright image; `values` are plain Arrow values.
    """

    image_id: str
    uri: str
    width: int
    height: int
    values: Mapping[str, Any] = field(repr=False)
    open_image: Callable[[], Image] = field(repr=False)

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def image(self) -> Image:
        """The EXIF-upright RGB image, decoded once. Raises ImageError."""
        # No cached_property: that of Python 3.11 lets one thread at a time decode, of all records.
        if "_image" not in self.__dict__:
            self.__dict__["_image"] = self.open_image()
        found: Image = self.__dict__["_image"]
        return found

    def __getitem__(self, column: Column[T]) -> T:
        """The decoded value; KeyError names the columns that the stage declared."""
        if column.name not in self.values:
            declared = ", ".join(sorted(self.values)) or "(none)"
            raise KeyError(f"column '{column.name}' is not among the declared reads: {declared}")
        return column.decode(self.values[column.name])

    def members(self, family: Family[T]) -> dict[str, T]:
        """Source -> decoded value for every member of `family` that is present, by name."""
        names = sorted(name for name in self.values if family.owns(name))
        present = {name: self.values[name] for name in names if self.values[name] is not None}
        return {
            family.source(name): family.of(family.source(name)).decode(value)
            for name, value in present.items()
        }
