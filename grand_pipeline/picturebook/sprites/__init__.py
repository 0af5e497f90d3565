"""Sprites: one drawing function per class, cached as RGBA images."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from PIL import Image

from grand_pipeline.picturebook.sprites import animals, items, places, vehicles
from grand_pipeline.picturebook.sprites.pen import Pen, Rgb, mix
from grand_pipeline.picturebook.vocabulary import COLORS, UNNAMED

SPRITE_PIXELS = 144  # longer side of a cached sprite
SHADES = 3  # every colour comes in this many tones

# name -> (width, height in units, drawing function)
DRAWINGS: dict[str, tuple[float, float, Callable[[Pen, Rgb], None]]] = {
    "dog": (100, 79, animals.dog),
    "cat": (70, 100, animals.cat),
    "bird": (100, 85, animals.bird),
    "fish": (100, 64, animals.fish),
    "horse": (100, 100, animals.horse),
    "cow": (97, 75, animals.cow),
    "rabbit": (64, 100, animals.rabbit),
    "butterfly": (100, 83, animals.butterfly),
    "car": (100, 56, vehicles.car),
    "bus": (100, 62, vehicles.bus),
    "truck": (100, 63, vehicles.truck),
    "boat": (93, 100, vehicles.boat),
    "airplane": (100, 61, vehicles.airplane),
    "balloon": (76, 100, vehicles.balloon),
    "bicycle": (100, 67, vehicles.bicycle),
    "train": (100, 62, vehicles.train),
    "tree": (76, 100, places.tree),
    "flower": (62, 100, places.flower),
    "mushroom": (90, 90, places.mushroom),
    "house": (90, 100, places.house),
    "tent": (100, 75, places.tent),
    "lighthouse": (50, 100, places.lighthouse),
    "ball": (100, 100, items.ball),
    "umbrella": (100, 100, items.umbrella),
    "kite": (76, 100, items.kite),
    "chair": (81, 100, items.chair),
    "table": (100, 62, items.table),
    "lamp": (58, 100, items.lamp),
    "clock": (100, 100, items.clock),
    "robot": (73, 100, items.robot),
}


def aspect(name: str) -> tuple[float, float]:
    """Width and height of a class as fractions of its longer side."""
    width, height, _ = DRAWINGS[name]
    return width / 100, height / 100


@lru_cache(maxsize=2400)
def sprite(name: str, color: str, shade: int) -> Image.Image:
    """The picture of a class in a colour or tone, mode RGBa; do not change it, it is shared.

    `shade` (0 .. SHADES - 1) is the tone of the colour: a little darker, plain, a little lighter.
    """
    width, height, draw = DRAWINGS[name]
    pen = Pen(width, height, SPRITE_PIXELS)
    tone = COLORS[color] if color in COLORS else UNNAMED[color]
    if shade != 1:
        tone = mix(tone, (0, 0, 0) if shade == 0 else (255, 255, 255), 0.08)
    draw(pen, tone)
    return pen.finish()
