"""Backgrounds: pastel stuff textures, region maps and the perspective ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from grand_pipeline.picturebook.vocabulary import STUFF

TEXTURES = 8  # ready-made variants of every stuff texture
SKY_DEPTH = 0.02

Rng = np.random.Generator
Painter = Callable[[ImageDraw.ImageDraw, Rng, int], None]
Rgb = tuple[int, int, int]

# Pastel base colours; every variant shifts them a little.
BASE: dict[str, Rgb] = {
    "sky": (196, 226, 246),
    "grass": (184, 220, 158),
    "sand": (243, 226, 184),
    "water": (152, 212, 222),
    "road": (190, 188, 196),
    "wall": (240, 214, 206),
    "floor": (222, 190, 154),
}


def _shift(color: Rgb, amount: int) -> Rgb:
    r, g, b = (max(0, min(255, v + amount)) for v in color)
    return r, g, b


def _sky(draw: ImageDraw.ImageDraw, rng: Rng, size: int) -> None:
    for _ in range(7):
        x, y = rng.uniform(0.0, 1.0) * size, rng.uniform(0.0, 0.8) * size
        w = rng.uniform(0.10, 0.2) * size
        for dx, dy, r in ((0, 0, 0.34), (0.3, -0.1, 0.42), (0.62, 0.0, 0.36), (0.9, 0.05, 0.24)):
            for turn in (0, -size):  # the texture is rolled sideways, so clouds wrap round
                cx, cy, rx, ry = x + dx * w + turn, y + dy * w, r * w, r * 0.6 * w
                draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=(232, 243, 250))


def _strokes(draw: ImageDraw.ImageDraw, rng: Rng, size: int, color: Rgb) -> None:
    for _ in range(150):
        x, t = rng.uniform(0, size), rng.uniform(0, 1)
        h = (0.008 + 0.022 * t) * size
        y = t * size
        for dx in (-0.6, 0.0, 0.6):
            draw.line((x + dx * h, y - h * (1 - abs(dx) * 0.4), x, y), fill=color, width=1)


def _grass(draw: ImageDraw.ImageDraw, rng: Rng, size: int) -> None:
    _strokes(draw, rng, size, (146, 194, 120))


def _sand(draw: ImageDraw.ImageDraw, rng: Rng, size: int) -> None:
    for _ in range(420):
        x, t = rng.uniform(0, size), rng.uniform(0, 1)
        r = (0.002 + 0.004 * t) * size
        draw.ellipse((x - r * 1.5, t * size - r, x + r * 1.5, t * size + r), fill=(222, 196, 142))


def _water(draw: ImageDraw.ImageDraw, rng: Rng, size: int) -> None:
    for _ in range(120):
        x, t = rng.uniform(-0.1, 1) * size, rng.uniform(0, 1)
        w, y = (0.03 + 0.05 * t) * size, t * size
        box, width = (x, y, x + w, y + w * 0.5), max(1, size // 128)
        draw.arc(box, 20, 160, fill=(216, 242, 246), width=width)


def _road(draw: ImageDraw.ImageDraw, rng: Rng, size: int) -> None:
    for _ in range(300):
        x, y = rng.uniform(0, size), rng.uniform(0, size)
        draw.point((x, y), fill=(170, 168, 178))
    for t, w in ((0.55, 0.012), (0.8, 0.022)):
        offset = rng.uniform(0, 0.2)
        for k in range(-1, 7):
            x, y = (k * 0.2 + offset) * size, t * size
            draw.rectangle((x, y, x + 0.1 * size, y + w * size), fill=(244, 242, 236))


def _wall(draw: ImageDraw.ImageDraw, rng: Rng, size: int) -> None:
    step = size / rng.integers(12, 18)
    for k in range(20):
        x = k * step
        draw.rectangle((x, 0, x + step * 0.3, size), fill=(231, 198, 190))
        for j in range(12):
            y = (j + 0.5 * (k % 2)) * size / 11
            cx, r = x + step * 0.65, size * 0.007
            draw.ellipse((cx - r, y - r, cx + r, y + r), fill=(250, 236, 228))


def _floor(draw: ImageDraw.ImageDraw, rng: Rng, size: int) -> None:
    rows, y = 9, 0.0
    for row in range(rows):
        height = size * (0.06 + 0.016 * row)
        draw.line((0, y, size, y), fill=(196, 160, 122), width=max(1, size // 128))
        for x in rng.uniform(0, size, 3):
            draw.line((x, y, x, y + height), fill=(196, 160, 122), width=max(1, size // 128))
        y += height


_PAINTERS: dict[str, Painter] = {
    "sky": _sky,
    "grass": _grass,
    "sand": _sand,
    "water": _water,
    "road": _road,
    "wall": _wall,
    "floor": _floor,
}


@lru_cache(maxsize=len(STUFF) * TEXTURES * 2)
def texture(name: str, variant: int, size: int) -> npt.NDArray[np.uint8]:
    """One of the ready-made textures of a stuff class, (size, size, 3); read-only."""
    rng = np.random.default_rng([11, STUFF.index(name), variant])
    image = Image.new("RGB", (size, size), _shift(BASE[name], int(rng.integers(-9, 8))))
    _PAINTERS[name](ImageDraw.Draw(image), rng, size)
    pixels = np.asarray(image)
    pixels.setflags(write=False)
    return pixels


@dataclass(frozen=True)
class Ground:
    """A background: the picture, which stuff is where, and the depth rule of its plane.

    `bands` lists (stuff name, top, bottom) from the top, in rows (borders are wavy, so the
    numbers are their mean); `rows` are the half-open row ranges outside of which a band is not;
    `horizon` is the row where the standing ground begins.
    """

    image: npt.NDArray[np.uint8]  # (H, W, 3)
    stuff: npt.NDArray[np.int16]  # (H, W), index into `bands`
    bands: tuple[tuple[str, float, float], ...]
    rows: tuple[tuple[int, int], ...]
    horizon: float
    far: float  # depth at the horizon
    near: float  # depth at the lower border of the picture

    def depth_at(self, row: float) -> float:
        """Relative inverse depth of the ground plane at an image row."""
        t = (row - self.horizon) / (self.image.shape[0] - self.horizon)
        return float(self.far + (self.near - self.far) * min(1.0, max(0.0, t)))


def _borders(kind: str, rng: Rng) -> tuple[tuple[tuple[str, float], ...], float]:
    """Stuff names with their lower borders (fractions of the height) and the horizon."""
    u = rng.uniform
    if kind == "meadow":
        h = u(0.31, 0.46)
        return (("sky", h), ("grass", 1.0)), h
    if kind == "beach":
        h = u(0.3, 0.4)
        return (("sky", h), ("water", h + u(0.2, 0.3)), ("sand", 1.0)), h
    if kind == "street":
        h = u(0.31, 0.42)
        return (("sky", h), ("grass", h + u(0.1, 0.18)), ("road", 1.0)), h
    if kind == "living room":
        h = u(0.4, 0.56)
        return (("wall", h), ("floor", 1.0)), h
    h = u(0.36, 0.46)
    return (("sky", h - u(0.08, 0.14)), ("wall", h), ("grass", u(0.68, 0.82)), ("sand", 1.0)), h


_WAVY = {("sky", "grass"): 0.018, ("water", "sand"): 0.016, ("grass", "sand"): 0.02}


def make_ground(kind: str, rng: Rng, size: int) -> Ground:
    """Draw the background of a kind of scene."""
    borders, horizon = _borders(kind, rng)
    columns = np.arange(size, dtype=np.float32) / size
    stuff = np.zeros((size, size), np.int16)
    image = np.empty((size, size, 3), np.uint8)
    bands: list[tuple[str, float, float]] = []
    starts, ends = [], []
    top = 0.0
    for index, (name, bottom) in enumerate(borders):
        variant, roll = int(rng.integers(TEXTURES)), int(rng.integers(size))
        phase, waves = rng.uniform(0, 6.28), rng.uniform(0.8, 2.2)
        amount = _WAVY.get((borders[index - 1][0], name), 0.0) if index else 0.0
        edge = (top + amount * np.sin(columns * 6.28 * waves + phase)) * size
        pixels = texture(name, variant, size)
        first, full = max(0, int(edge.min())), int(np.ceil(edge.max()))
        starts.append(first)
        ends.append(full)
        image[full:, roll:] = pixels[full:, : size - roll]
        image[full:, :roll] = pixels[full:, size - roll :]
        stuff[full:] = index
        if full > first:  # the rows that the wavy border crosses
            below = np.arange(first, full, dtype=np.float32)[:, None] >= edge[None, :]
            stuff[first:full][below] = index
            mixed = np.roll(pixels[first:full], roll, axis=1)
            np.copyto(image[first:full], mixed, where=below[..., None])
        bands.append((name, top * size, bottom * size))
        top = bottom
    indoors = kind == "living room"
    far = rng.uniform(0.28, 0.42) if indoors else rng.uniform(0.08, 0.24)
    near = rng.uniform(0.86, 1.0)
    rows = tuple(zip(starts, [*ends[1:], size], strict=True))
    return Ground(image, stuff, tuple(bands), rows, horizon * size, far, near)


def depth_map(ground: Ground) -> npt.NDArray[np.float32]:
    """Depth of the empty scene: perspective ground, upright walls, far sky."""
    size = ground.image.shape[0]
    t = (np.arange(size, dtype=np.float32) - ground.horizon) / (size - ground.horizon)
    line = ground.far + (ground.near - ground.far) * np.clip(t, 0.0, 1.0)
    depth = np.empty(ground.stuff.shape, np.float32)
    depth[:] = line[:, None]
    for index, (name, _, _) in enumerate(ground.bands):
        if name == "sky":
            start, end = ground.rows[index]
            depth[start:end][ground.stuff[start:end] == index] = SKY_DEPTH
    return depth
