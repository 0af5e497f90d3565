"""A small drawing surface: unit coordinates, flat fills, a dark outline round every shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from PIL import Image, ImageDraw

Rgb: TypeAlias = tuple[int, int, int]

OUTLINE: Rgb = (38, 34, 44)
WHITE: Rgb = (250, 250, 247)
SUPERSAMPLE = 2
UNITS = 100.0  # the longer side of every sprite


def luminance(color: Rgb) -> float:
    """Perceived brightness of a colour, 0..255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def mix(color: Rgb, other: Rgb, share: float) -> Rgb:
    """`color` with `share` (0..1) of `other` in it."""
    r, g, b = (round(a * (1 - share) + c * share) for a, c in zip(color, other, strict=True))
    return r, g, b


def darker(color: Rgb, share: float = 0.3) -> Rgb:
    """A darker tone for patterns; near-black colours get lighter so the pattern stays visible."""
    if luminance(color) < 75:
        return mix(color, (255, 255, 255), share)
    return mix(color, (0, 0, 0), share)


def lighter(color: Rgb, share: float = 0.4) -> Rgb:
    """A lighter tone for patterns; near-white colours get darker so the pattern stays visible."""
    if luminance(color) > 225:
        return mix(color, (0, 0, 0), share * 0.4)
    return mix(color, (255, 255, 255), share)


def contrast(color: Rgb) -> Rgb:
    """Off-white on a dark or saturated colour, near-black on a light one."""
    return (40, 40, 46) if luminance(color) > 165 else WHITE


class Pen:
    """Draws in units (longer side = 100, y down) on a supersampled RGBA canvas."""

    def __init__(self, width: float, height: float, pixels: int) -> None:
        self.scale = pixels * SUPERSAMPLE / UNITS
        self.size = (round(width * self.scale), round(height * self.scale))
        self.line_width = max(1, round(1.8 * self.scale))
        self._use(Image.new("RGBA", self.size, (0, 0, 0, 0)))

    def _use(self, canvas: Image.Image) -> None:
        self.canvas = canvas
        self.draw = ImageDraw.Draw(canvas)

    def _points(self, xy: tuple[float, ...]) -> list[tuple[float, float]]:
        s = self.scale
        return [(xy[i] * s, xy[i + 1] * s) for i in range(0, len(xy), 2)]

    def ell(self, cx: float, cy: float, rx: float, ry: float, fill: Rgb, edge: bool = True) -> None:
        """Ellipse by centre and radii."""
        s = self.scale
        box = ((cx - rx) * s, (cy - ry) * s, (cx + rx) * s, (cy + ry) * s)
        if edge:
            self.draw.ellipse(box, fill=fill, outline=OUTLINE, width=self.line_width)
        else:
            self.draw.ellipse(box, fill=fill)

    def rect(
        self, box: tuple[float, float, float, float], fill: Rgb, r: float = 0, edge: bool = True
    ) -> None:
        """Rectangle x0, y0, x1, y1 with corner radius `r`."""
        s = self.scale
        pixels = (box[0] * s, box[1] * s, box[2] * s, box[3] * s)
        outline, width = (OUTLINE, self.line_width) if edge else (None, 0)
        if r:
            self.draw.rounded_rectangle(pixels, r * s, fill=fill, outline=outline, width=width)
        else:
            self.draw.rectangle(pixels, fill=fill, outline=outline, width=width)

    def poly(self, fill: Rgb, *xy: float, edge: bool = True) -> None:
        """Filled polygon x0, y0, x1, y1, ..."""
        points = self._points(xy)
        self.draw.polygon(points, fill=fill)
        if edge:
            closed = [*points, points[0], points[1]]
            self.draw.line(closed, fill=OUTLINE, width=self.line_width, joint="curve")

    def line(self, fill: Rgb, width: float, *xy: float) -> None:
        """Open line with a width in units."""
        points = self._points(xy)
        self.draw.line(points, fill=fill, width=max(1, round(width * self.scale)), joint="curve")

    def limb(self, fill: Rgb, width: float, *xy: float) -> None:
        """A thick line with an outline and round ends."""
        for color, w in ((OUTLINE, width + 3.4), (fill, width)):
            self.line(color, w, *xy)
            for i in (0, len(xy) - 2):
                self.ell(xy[i], xy[i + 1], w / 2, w / 2, color, edge=False)

    def arc(
        self, box: tuple[float, float, float, float], span: tuple[float, float], fill: Rgb, w: float
    ) -> None:
        """Arc inside a box from span[0] to span[1] degrees (0 = east, clockwise)."""
        s = self.scale
        pixels = (box[0] * s, box[1] * s, box[2] * s, box[3] * s)
        self.draw.arc(pixels, span[0], span[1], fill=fill, width=max(1, round(w * s)))

    def pie(
        self,
        box: tuple[float, float, float, float],
        span: tuple[float, float],
        fill: Rgb,
        edge: bool = True,
    ) -> None:
        """Chord segment of an ellipse, filled."""
        s = self.scale
        pixels = (box[0] * s, box[1] * s, box[2] * s, box[3] * s)
        outline, width = (OUTLINE, self.line_width) if edge else (None, 0)
        self.draw.chord(pixels, span[0], span[1], fill=fill, outline=outline, width=width)

    def clip(self, shape: Callable[[Pen], None], paint: Callable[[Pen], None]) -> None:
        """Paint only inside a shape (a pattern on a body)."""
        base = self.canvas
        self._use(Image.new("RGBA", self.size, (0, 0, 0, 0)))
        shape(self)
        mask = self.canvas.getchannel("A")
        self._use(base.copy())
        paint(self)
        base.paste(self.canvas, mask=mask)
        self._use(base)

    def finish(self) -> Image.Image:
        """The sprite at its final resolution, with premultiplied alpha (mode RGBa)."""
        # Everything drawn is opaque and the rest is zero, so the pixels are premultiplied already.
        pixels = Image.frombytes("RGBa", self.size, self.canvas.tobytes())
        return pixels.reduce(SUPERSAMPLE)
