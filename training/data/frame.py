"""The part of an image that a row shows, and at what size: all geometry of augmentation.

Crop, resize, pad and mirror compose to one `Frame`, so pixels are resampled once, and boxes and
masks follow from the same four numbers and can not disagree with the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from grand_pipeline import geometry
from grand_pipeline.types import BoolArray, Box, FloatArray, Size

Pixels = NDArray[np.uint8]
"""An RGB picture (height, width, 3)."""

FILL = (124, 116, 104)
"""Colour beyond the border of the image: the mean of ImageNet, so about 0 once normalised."""


@dataclass(frozen=True)
class Frame:
    """`window` of the upright image (xyxy pixels, may reach beyond its border) at `size` (h, w).

    `mirrored`: left and right are exchanged, after cropping and resizing.
    """

    window: Box
    size: Size
    mirrored: bool = False

    @staticmethod
    def whole(size: Size) -> Frame:
        """All of an image of `size` (height, width), as it is."""
        height, width = size
        return Frame((0.0, 0.0, float(width), float(height)), size)

    def cropped(self, box: Box) -> Frame:
        """The part of this view inside `box` (xyxy pixels of this view), not resized.

        The new size is that of the box, rounded, at least one pixel.
        """
        x1, y1, x2, y2 = box
        if self.mirrored:
            x1, x2 = self.size[1] - x2, self.size[1] - x1
        across, down = self._scale()
        left, top = self.window[0], self.window[1]
        window = (left + x1 / across, top + y1 / down, left + x2 / across, top + y2 / down)
        size = max(1, round(y2 - y1)), max(1, round(x2 - x1))
        return replace(self, window=window, size=size)

    def resized(self, size: Size) -> Frame:
        """The same window at another size (height, width)."""
        return replace(self, size=size)

    def flipped(self) -> Frame:
        """Left and right exchanged."""
        return replace(self, mirrored=not self.mirrored)

    def boxes(self, boxes: FloatArray) -> FloatArray:
        """Boxes (n, 4) of the upright image in pixels of this view; not cut to it."""
        across, down = self._scale()
        left, top = self.window[0], self.window[1]
        moved = (boxes - np.array([left, top, left, top], np.float32)) * np.array(
            [across, down, across, down], np.float32
        )
        if self.mirrored:
            moved = np.stack(
                [self.size[1] - moved[:, 2], moved[:, 1], self.size[1] - moved[:, 0], moved[:, 3]],
                1,
            )
        return np.asarray(moved, np.float32)

    def mask(self, mask: BoolArray) -> BoolArray:
        """A mask (H, W) of the upright image in this view (h, w): the pixel at each middle.

        False beyond the border of the image.
        """
        height, width = self.size
        x1, y1, x2, y2 = self.window
        columns = np.floor(x1 + (np.arange(width) + 0.5) * ((x2 - x1) / width)).astype(np.int64)
        rows = np.floor(y1 + (np.arange(height) + 0.5) * ((y2 - y1) / height)).astype(np.int64)
        if self.mirrored:
            columns = columns[::-1]
        seen = np.zeros(self.size, bool)
        across = (columns >= 0) & (columns < mask.shape[1])
        down = (rows >= 0) & (rows < mask.shape[0])
        seen[np.ix_(down, across)] = mask[np.ix_(rows[down], columns[across])]
        return seen

    @property
    def share(self) -> float:
        """How much smaller than the image the view is: pixels of the view per pixel, the larger of
        both directions."""
        return max(self._scale())

    def pixels(
        self,
        image: Image.Image,
        resample: Image.Resampling = Image.Resampling.BICUBIC,
        full: Size | None = None,
    ) -> Pixels:
        """The upright RGB image in this view, resampled once, (h, w, 3).

        `full` is the size (height, width) of an image that was decoded at a whole fraction of it.
        """
        shrunk = 1 if full is None else round(max(full) / max(image.size))
        x1, y1, x2, y2 = self.window
        window = (x1 / shrunk, y1 / shrunk, x2 / shrunk, y2 / shrunk)
        shown = replace(self, window=window)._inside(image, resample)
        if self.mirrored:
            shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(shown)

    def _inside(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        height, width = self.size
        border = np.array([[0, 0, image.width, image.height]], np.float32)
        window = np.array([self.window], np.float32)
        if geometry.intersection(window, border)[0, 0] <= 0:
            return Image.new("RGB", (width, height), FILL)
        u1, v1, u2, v2 = inner = geometry.as_box(geometry.clip(window, image.size[::-1])[0])
        # Offsets of crops of crops are not exact; a thousandth of a pixel beyond is no border.
        if np.abs(np.subtract(inner, self.window)).max() < 1e-3:
            if self.size == (image.height, image.width) == (v2 - v1, u2 - u1):
                return image
            return image.resize((width, height), resample, box=inner)
        across, down = self._scale()
        x1, y1 = self.window[:2]
        left, top = round((u1 - x1) * across), round((v1 - y1) * down)
        wide = max(1, round((u2 - x1) * across) - left)
        high = max(1, round((v2 - y1) * down) - top)
        canvas = Image.new("RGB", (width, height), FILL)
        canvas.paste(image.resize((wide, high), resample, box=(u1, v1, u2, v2)), (left, top))
        return canvas

    def _scale(self) -> tuple[float, float]:
        x1, y1, x2, y2 = self.window
        return self.size[1] / (x2 - x1), self.size[0] / (y2 - y1)
