"""A decoded picture of any depth and transparency as 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

_WITH_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_BAND = 4_000_000
"""Pixels that are converted at once: on the way they take several times the memory of RGB."""


def rgb(image: Image.Image) -> Image.Image:
    """The image over white. 16-bit greys are scaled by their full range; 32-bit ones, which have
    no fixed white, from their own minimum to maximum."""
    if not (_is_deep(image) or _is_transparent(image)):
        return image.convert("RGB")
    limits = _limits(image) if _is_deep(image) else (0.0, 255.0)
    rows = max(1, _BAND // image.width)
    if rows >= image.height:
        return _flat(image, limits)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_flat(band, limits), (0, top))
    return whole


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _is_transparent(image: Image.Image) -> bool:
    return "transparency" in image.info or image.mode in _WITH_ALPHA


def _flat(image: Image.Image, limits: tuple[float, float]) -> Image.Image:
    if _is_deep(image):
        return _grey(image, *limits).convert("RGB")
    # Straight from La there is no way to RGBA; through LA there is.
    layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _limits(image: Image.Image) -> tuple[float, float]:
    """What is black and what is white in a deep image; what is no number counts as 0."""
    if image.mode not in ("I", "F"):
        return 0.0, 65535.0
    values = np.asarray(image)
    odd = ~np.isfinite(values)
    if odd.any():
        values = np.where(odd, 0, values)
    return float(values.min()), float(values.max())


def _grey(image: Image.Image, low: float, high: float) -> Image.Image:
    """8-bit grey of a deep one."""
    with np.errstate(invalid="ignore"):  # Some ways to write "not a number" are told as an error.
        values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
