"""Vehicles, facing right."""

from __future__ import annotations

from math import cos, pi, sin

from grand_pipeline.picturebook.sprites.pen import (
    OUTLINE,
    WHITE,
    Pen,
    Rgb,
    contrast,
    darker,
    lighter,
)

GLASS: Rgb = (176, 224, 244)
TYRE: Rgb = (44, 42, 48)
HUB: Rgb = (205, 208, 214)
GOLD: Rgb = (252, 205, 50)


def _wheel(pen: Pen, x: float, y: float, r: float) -> None:
    pen.ell(x, y, r, r, TYRE)
    pen.ell(x, y, r * 0.52, r * 0.52, HUB, edge=False)
    pen.ell(x, y, r * 0.18, r * 0.18, TYRE, edge=False)


def car(pen: Pen, c: Rgb) -> None:
    """Low body, sloping cabin with two windows, two wheels, yellow lamp."""
    pen.poly(c, 16, 26, 28, 3, 64, 3, 80, 26)
    pen.poly(GLASS, 23, 24, 32, 8, 45, 8, 45, 24)
    pen.poly(GLASS, 50, 24, 50, 8, 61, 8, 72, 24)
    pen.line(WHITE, 2.5, 30, 20, 37, 10)
    pen.line(WHITE, 2.5, 54, 20, 59, 11)
    pen.rect((1, 23, 99, 45), c, r=8)
    pen.rect((1, 38, 99, 44), darker(c, 0.35), r=2, edge=False)
    pen.line(OUTLINE, 1.4, 47, 25, 47, 42)
    pen.rect((52, 28, 59, 31), OUTLINE, r=1, edge=False)
    pen.ell(94, 31, 4.6, 5, GOLD)
    pen.rect((1, 27, 7, 35), (220, 40, 40), r=1)
    _wheel(pen, 24, 44, 11)
    _wheel(pen, 76, 44, 11)


def bus(pen: Pen, c: Rgb) -> None:
    """Tall box with a row of square windows, a white band and a door."""
    pen.rect((1, 2, 99, 52), c, r=6)
    for x in (6, 22, 38, 54):
        pen.rect((x, 9, x + 13, 25), GLASS, r=2)
        pen.line(WHITE, 2, x + 3, 22, x + 9, 12)
    pen.rect((72, 9, 84, 48), GLASS, r=2)
    pen.line(OUTLINE, 1.6, 78, 10, 78, 48)
    pen.rect((88, 9, 98, 30), GLASS, r=2)
    band = WHITE if c[2] < 240 else (80, 120, 200)
    pen.rect((2, 31, 71, 38), band, edge=False)
    for x in range(6, 70, 8):
        pen.rect((x, 33, x + 4, 36), OUTLINE, edge=False)
    pen.rect((90, 38, 99, 45), GOLD, r=2)
    _wheel(pen, 22, 51, 9.5)
    _wheel(pen, 62, 51, 9.5)


def truck(pen: Pen, c: Rgb) -> None:
    """Ribbed cargo box with a hazard stripe, separate grey cab, three wheels."""
    pen.rect((1, 1, 66, 44), c)
    for x in range(8, 64, 8):
        pen.line(darker(c, 0.45), 2.6, x, 4, x, 33)

    def hazard(p: Pen) -> None:
        p.rect((0, 34, 70, 46), (255, 214, 30), edge=False)
        for x in range(-6, 76, 11):
            p.poly(OUTLINE, x, 44, x + 6, 34, x + 12, 34, x + 6, 44, edge=False)

    pen.clip(lambda p: p.rect((2, 34, 65, 43), c, edge=False), hazard)
    pen.poly((224, 226, 230), 68, 12, 86, 12, 98, 28, 99, 48, 68, 48)
    pen.poly(GLASS, 73, 17, 84, 17, 92, 29, 73, 29)
    pen.rect((67, 36, 99, 42), c, edge=False)
    pen.rect((0, 43, 99, 50), (96, 98, 104))
    pen.rect((93, 43, 99, 48), GOLD, r=1)
    for x in (15, 37, 82):
        _wheel(pen, x, 51, 10.5)


def boat(pen: Pen, c: Rgb) -> None:
    """Two big sails in the main colour with seams, brown hull with portholes, flag."""
    pen.line(OUTLINE, 4.2, 46, 3, 46, 76)
    pen.line((150, 100, 60), 2, 46, 3, 46, 76)
    pen.poly((230, 50, 60), 47, 2, 62, 6, 47, 11)
    pen.poly(c, 50, 13, 88, 68, 50, 68)
    pen.poly(c, 42, 22, 42, 68, 10, 68)
    tone = darker(c, 0.4)
    for y, right, left in ((30, 60, 36), (43, 69, 27), (56, 78, 18)):
        pen.line(tone, 2, 51, y, right, y)
        pen.line(tone, 2, left, y, 41, y)
    pen.ell(60, 57, 5, 5, contrast(c), edge=False)
    pen.poly((134, 78, 40), 1, 74, 92, 74, 78, 98, 16, 98)
    pen.poly(WHITE, 1, 74, 92, 74, 90, 79, 3, 79)
    for x in (26, 40, 54, 68):
        pen.ell(x, 87, 4.4, 4.4, GLASS)


def airplane(pen: Pen, c: Rgb) -> None:
    """Cigar body with round windows, light wings with red tips, tall tail."""
    pen.poly((214, 218, 226), 40, 24, 26, 3, 38, 3, 62, 24)
    pen.poly(c, 4, 28, 2, 4, 14, 4, 28, 24)
    pen.poly((230, 60, 60), 2, 4, 14, 4, 18, 11, 2.6, 11)
    pen.ell(52, 32, 48, 12.5, c)

    def belly(p: Pen) -> None:
        p.rect((0, 37, 100, 50), (228, 230, 236), edge=False)

    pen.clip(lambda p: p.ell(52, 32, 46.5, 11, c, edge=False), belly)
    pen.poly(GLASS, 84, 23, 92, 26, 95, 30, 84, 30)
    for x in (26, 36, 46, 56, 66, 76):
        pen.ell(x, 29, 3.4, 3.6, GLASS)
    pen.poly((214, 218, 226), 42, 36, 66, 36, 40, 59, 26, 59)
    pen.poly((230, 60, 60), 31, 52, 48, 52, 40, 59, 26, 59)
    pen.ell(58, 46, 8, 4.4, (120, 124, 132))
    pen.poly((214, 218, 226), 3, 32, 18, 32, 10, 39, 1, 39)


def balloon(pen: Pen, c: Rgb) -> None:
    """Big round envelope with a zigzag band and gore seams, ropes, woven basket."""
    for x in (24, 38, 52):
        pen.line(OUTLINE, 1.6, x, 66, 38 + (x - 38) * 0.6, 86)
    pen.poly(c, 10, 52, 66, 52, 48, 74, 28, 74)
    pen.ell(38, 37, 36, 35, c)
    pen.poly(c, 12, 54, 64, 54, 48, 72, 28, 72, edge=False)
    light = lighter(c, 0.45)

    def pattern(p: Pen) -> None:
        for rx in (12, 25):
            p.arc((38 - rx, 0, 38 + rx, 80), (0, 360), darker(c, 0.35), 1.8)
        zigzag: list[float] = []
        for i, x in enumerate(range(-2, 84, 8)):
            zigzag += [x, 30 if i % 2 else 40]
        p.line(contrast(c) if light == c else WHITE, 6.5, *zigzag)
        if c[0] > 240 and c[2] > 235:
            p.line((240, 150, 40), 4.5, *zigzag)
        for x in range(6, 76, 11):
            p.ell(x, 16, 2.6, 2.6, GOLD, edge=False)
            p.ell(x, 53, 2.6, 2.6, GOLD, edge=False)

    pen.clip(lambda p: p.ell(38, 37, 34.4, 33.4, c, edge=False), pattern)
    pen.rect((29, 84, 47, 99), (176, 120, 64), r=2)
    for y in (89, 94):
        pen.line((110, 66, 30), 1.6, 30, y, 46, y)
    for x in (35, 41):
        pen.line((110, 66, 30), 1.6, x, 86, x, 98)


def bicycle(pen: Pen, c: Rgb) -> None:
    """Two large spoked wheels, thick coloured frame, mudguards and basket."""
    for x in (21, 79):
        pen.ell(x, 45, 20, 20, TYRE)
        pen.ell(x, 45, 15.5, 15.5, (238, 240, 244), edge=False)
        for k in range(6):
            dx, dy = 15 * cos(k * pi / 6), 15 * sin(k * pi / 6)
            pen.line((120, 124, 132), 1.1, x - dx, 45 - dy, x + dx, 45 + dy)
        pen.arc((x - 22, 23, x + 22, 67), (180, 345), OUTLINE, 8.4)
        pen.arc((x - 21, 24, x + 21, 66), (182, 343), c, 6.4)
    for width, color in ((10.4, OUTLINE), (7.4, c)):
        pen.line(color, width, 21, 45, 38, 20, 70, 20, 48, 46, 21, 45)
        pen.line(color, width, 34, 14, 48, 46)
        pen.line(color, width, 68, 8, 79, 45)
    pen.rect((24, 7, 44, 14), (70, 50, 40), r=3)
    pen.line(OUTLINE, 3.6, 70, 6, 60, 4)
    pen.rect((72, 3, 99, 23), c, r=2)
    for x in (78, 85, 92):
        pen.line(darker(c, 0.4), 1.6, x, 5, x, 21)
    pen.line(darker(c, 0.4), 1.6, 74, 13, 97, 13)
    pen.ell(48, 46, 6, 6, (110, 112, 120))


def train(pen: Pen, c: Rgb) -> None:
    """Steam engine: boiler with gold bands, black funnel, cab, row of red wheels."""
    pen.ell(80, 5, 6, 5, (226, 228, 232))
    pen.ell(69, 7, 8, 6, (226, 228, 232))
    pen.poly(TYRE, 74, 26, 76, 14, 72, 10, 90, 10, 86, 14, 88, 26)
    pen.rect((36, 22, 96, 46), c, r=9)
    for x in (48, 62, 78):
        pen.rect((x, 22, x + 4.6, 46), GOLD)
    pen.ell(56, 22, 6, 5.5, GOLD)
    pen.rect((6, 10, 40, 47), c)
    pen.rect((2, 5, 44, 12), TYRE, r=2)
    pen.rect((13, 17, 32, 31), GLASS, r=2)
    pen.rect((3, 44, 96, 50), (92, 94, 102))
    pen.poly(GOLD, 92, 42, 96, 42, 100, 60, 86, 60)
    pen.line(OUTLINE, 2, 94, 44, 90, 60)
    pen.line(OUTLINE, 2, 96, 46, 96, 60)
    for x, r in ((18, 9), (41, 9), (60, 6.4), (75, 6.4)):
        y = 61 - r
        pen.ell(x, y, r, r, (214, 44, 48))
        pen.line(WHITE, 1.5, x - r * 0.7, y, x + r * 0.7, y)
        pen.line(WHITE, 1.5, x, y - r * 0.7, x, y + r * 0.7)
        pen.ell(x, y, r * 0.3, r * 0.3, OUTLINE, edge=False)
