"""Colours, sizes and fonts of annotated pictures."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

from grand_pipeline import inert

Rgb = tuple[int, int, int]

PALETTE: tuple[Rgb, ...] = (
    (214, 39, 70),
    (24, 110, 205),
    (22, 140, 84),
    (196, 94, 8),
    (124, 66, 188),
    (0, 134, 150),
    (194, 42, 138),
    (120, 104, 16),
    (64, 78, 200),
    (150, 74, 44),
    (84, 122, 20),
    (110, 88, 118),
)
"""Neighbouring entries differ strongly; all are dark enough for white letters."""

INK: Rgb = (33, 37, 44)
FAINT: Rgb = (120, 127, 138)
PAPER: Rgb = (252, 251, 248)
LINE: Rgb = (224, 222, 215)
PILL: Rgb = (237, 236, 230)
ALARM: Rgb = (186, 28, 40)

_STRAIGHT = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2014", "''\"\"--")

_LETTERS = 60

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def color_of(object_id: int) -> Rgb:
    """The colour of an object, in the picture and in the texts."""
    return PALETTE[object_id % len(PALETTE)]


def tint(color: Rgb, strength: float) -> Rgb:
    """A colour laid thinly over the paper."""
    red, green, blue = (
        round(over * strength + under * (1 - strength))
        for over, under in zip(color, PAPER, strict=True)
    )
    return red, green, blue


@lru_cache(maxsize=32)
def font(size: int) -> Font:
    """Pillow's own font, so that pictures look alike on every machine."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=8192)
def drawable(text: str) -> str:
    """A text in letters that the font has: accents are dropped, curly quotes made straight."""
    text = inert.visible(text)
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKD", text.translate(_STRAIGHT))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def brief(text: str) -> str:
    """A name on one line, cut where it is longer than any name should be."""
    line = " ".join(text[: 2 * _LETTERS].split())
    return line if len(line) <= _LETTERS else f"{line[:_LETTERS]}..."


def width_of(text: str, size: int) -> float:
    """Width of a text in pixels."""
    return font(size).getlength(drawable(text))
