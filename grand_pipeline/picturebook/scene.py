"""Frozen values of a scene, and the sampling of what stands where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grand_pipeline.picturebook.ground import Ground
from grand_pipeline.picturebook.sprites import SHADES, aspect
from grand_pipeline.picturebook.vocabulary import (
    THINGS,
    allowed_colors,
    held_out_colors,
    names_in,
    unnamed_colors,
)

MIN_OBJECTS, MAX_OBJECTS = 4, 8
MAX_ALIKE = 2  # things of one class in a picture
MIN_VISIBLE = 0.4
MIN_SIDE = 45 / 256  # longer side of the visible box, as a fraction of the picture
_TRIES = 14  # places tried for one object before it is given up
_UNIT = 74 / 256  # longer side of a thing of scale 1 in the middle distance
# Corrections that make the classes about equally frequent over all scenes.
_SCARCE = {"boat": 1.6, "horse": 1.25, "bus": 1.25, "fish": 1.25, "bicycle": 0.8}
_BACKDROP = ("house", "tree", "lighthouse")  # stand in the farther half of the ground


@dataclass(frozen=True)
class SceneObject:
    """One visible thing or stuff region.

    `box` is xyxy, half-open pixels, tight round the visible mask; `depth` is relative inverse
    depth (median over the visible mask, larger = nearer); `visible` is visible / full area.
    """

    id: int
    name: str
    color: str | None
    kind: str
    box: tuple[float, float, float, float]
    depth: float
    visible: float


@dataclass(frozen=True)
class Scene:
    """A rendered picture with its exact truth; `ids` and `depth` are per pixel, (H, W)."""

    seed: int
    index: int
    kind: str
    image: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int16]
    depth: npt.NDArray[np.float32]
    objects: tuple[SceneObject, ...]

    @property
    def things(self) -> tuple[SceneObject, ...]:
        """The countable objects, in id order."""
        return tuple(o for o in self.objects if o.kind == "thing")


@dataclass(frozen=True)
class Placed:
    """A thing before rendering: integer pixel box of its sprite (may leave the picture)."""

    name: str
    color: str
    shade: int
    flip: bool
    left: int
    top: int
    width: int
    height: int
    depth: float

    @property
    def on_ground(self) -> bool:
        """Whether it stands on the ground (and so has a shadow there)."""
        return THINGS[self.name].slot == "ground"


def _weights(kind: str) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Names with draw probabilities: classes that live in few scenes are drawn more often there."""
    names = names_in(kind)
    raw = np.array([_SCARCE.get(n, 1.0) / len(THINGS[n].scenes) ** 1.15 for n in names])
    return names, raw / raw.sum()


def _color(name: str, rng: np.random.Generator, held_out: bool, unnamed: float) -> str:
    if unnamed and rng.random() < unnamed:
        tones = unnamed_colors(name)
        return tones[int(rng.integers(len(tones)))]
    unseen = held_out_colors(name)
    pick = rng.random()
    if held_out and unseen and pick < 0.5:
        return unseen[int(rng.integers(len(unseen)))]
    colors = allowed_colors(name, held_out=False)
    return colors[int(rng.integers(len(colors)))]


def _row_range(name: str, kind: str, ground: Ground) -> tuple[float, float]:
    """Rows in which the lower edge of a standing or floating thing may be."""
    size = ground.image.shape[0]
    bands = {band: (top, bottom) for band, top, bottom in ground.bands}
    if THINGS[name].slot == "water":
        top, bottom = bands["water"]
        return top + 0.3 * (bottom - top), bottom - 0.02 * size
    top, bottom = ground.horizon + 0.03 * size, 0.985 * size
    if kind == "beach":
        top = bands["sand"][0] + 0.03 * size
    if kind == "street":
        road = bands["road"][0]
        if name in _BACKDROP:
            return top, road
        top = road + 0.05 * size
    if name in _BACKDROP:
        bottom = top + 0.55 * (bottom - top)
    return top, bottom


def _place(
    name: str, kind: str, ground: Ground, rng: np.random.Generator
) -> tuple[int, int, int, int, float]:
    """Draw a pixel box (left, top, width, height) and the depth of a thing."""
    thing, size = THINGS[name], ground.image.shape[0]
    x, v, jitter = rng.random(3)
    span = ground.near - ground.far
    if thing.slot == "wall":
        depth, row = ground.far + 0.01, 0.0
    elif thing.slot == "sky":
        depth, row = ground.far + span * (0.12 + 0.85 * float(v)), 0.0
    else:
        first, last = _row_range(name, kind, ground)
        row = first + float(v) * (last - first)
        depth = ground.depth_at(row)
    nearness = (depth - ground.far) / span
    side = thing.scale * _UNIT * (0.66 + 0.6 * nearness) * (0.92 + 0.16 * float(jitter))
    if thing.slot == "wall":
        side = thing.scale * _UNIT * (0.85 + 0.3 * float(jitter))
    side = min(0.58, max(1.06 * MIN_SIDE, side)) * size
    stretch = 0.94 + 0.12 * float(rng.random())
    fw, fh = aspect(name)
    air = ground.horizon - 0.05 * size - 1  # rows in which things fly and hang
    if thing.slot in ("sky", "wall"):
        side = min(side, air * stretch / fh)
    width, height = round(side * fw * stretch), round(side * fh / stretch)
    left = round(-0.1 * width + float(x) * (size - 0.8 * width))
    if thing.slot in ("ground", "water"):
        return left, round(row) - height, width, height, depth
    top = 1 + int(float(rng.random()) * max(0.0, air - height))
    return left, top, width, height, depth


def _crowded(box: tuple[int, int, int, int], placed: list[Placed], limit: float) -> bool:
    """Whether a box covers, or is covered by, more than `limit` of an earlier one."""
    left, top, width, height = box
    for other in placed:
        w = min(left + width, other.left + other.width) - max(left, other.left)
        h = min(top + height, other.top + other.height) - max(top, other.top)
        if w > 0 and h > 0 and w * h > limit * min(width * height, other.width * other.height):
            return True
    return False


def sample(
    kind: str, ground: Ground, rng: np.random.Generator, held_out: bool, unnamed: float = 0.0
) -> list[Placed]:
    """Draw the things of a scene, far to near; no crowd of more than a limited overlap."""
    wanted = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    limit = float(rng.uniform(0.12, 0.36))
    names, weights = _weights(kind)
    placed: list[Placed] = []
    for _ in range(4 * wanted):
        name = names[int(rng.choice(len(names), p=weights))]
        color = _color(name, rng, held_out, unnamed)
        if placed and rng.random() < 0.16:
            name = placed[-1].name
            color = placed[-1].color if rng.random() < 0.6 else _color(name, rng, held_out, unnamed)
        if sum(p.name == name for p in placed) >= MAX_ALIKE:
            continue
        shade, flip = int(rng.integers(SHADES)), bool(rng.random() < 0.5)
        for _ in range(_TRIES):
            left, top, width, height, depth = _place(name, kind, ground, rng)
            if not _crowded((left, top, width, height), placed, limit):
                box = (left, top, width, height)
                placed.append(Placed(name, color, shade, flip, *box, depth))
                break
        if len(placed) == wanted:
            break
    return sorted(placed, key=lambda p: p.depth)
