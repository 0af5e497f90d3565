"""Toys, furniture and household items."""

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
    luminance,
)

WOOD: Rgb = (150, 98, 54)
GOLD: Rgb = (250, 200, 60)
STEEL: Rgb = (176, 180, 188)


def ball(pen: Pen, c: Rgb) -> None:
    """Round, with a big star in the middle and a dotted ring."""
    pen.ell(50, 50, 49, 49, c)
    star: list[float] = []
    for k in range(10):
        r = 32 if k % 2 == 0 else 13.5
        star += [50 + r * sin(k * pi / 5), 50 - r * cos(k * pi / 5)]
    mark: Rgb = WHITE if luminance(c) < 200 else (232, 60, 90)
    pen.poly(mark, *star)
    for k in range(10):
        x, y = 50 + 41 * sin((k + 0.5) * pi / 5), 50 - 41 * cos((k + 0.5) * pi / 5)
        pen.ell(x, y, 3.4, 3.4, mark, edge=False)


def umbrella(pen: Pen, c: Rgb) -> None:
    """Dome of coloured and white gores with a scalloped rim on a long pole."""
    other = WHITE if luminance(c) < 225 else (190, 186, 196)
    for width, color in ((4.6, OUTLINE), (2.4, WOOD)):
        pen.line(color, width, 50, 6, 50, 94)
    pen.arc((50, 84, 64, 99), (0, 180), OUTLINE, 4)
    pen.pie((1, 4, 99, 96), (180, 360), c)

    def gores(p: Pen) -> None:
        p.ell(50, 52, 33, 46, other)
        p.ell(50, 52, 12, 46, c)
        for x in (10, 28, 50, 72, 90):
            p.ell(x, 53, 10 if x != 50 else 12, 5, darker(c, 0.5), edge=False)

    pen.clip(lambda p: p.pie((2.6, 5.6, 97.4, 96), (180, 360), c, edge=False), gores)
    pen.line(OUTLINE, 3, 50, 1, 50, 7)


def kite(pen: Pen, c: Rgb) -> None:
    """Diamond in two tones with spars and a round face, tail of bright bows."""
    pen.line(OUTLINE, 1.8, 38, 66, 46, 76, 34, 86, 44, 98)
    bows = ((44, 75, (255, 120, 170)), (36, 85, (255, 205, 40)), (43, 96, (80, 190, 230)))
    for x, y, bow in bows:
        pen.poly(bow, x, y, x - 9, y - 5, x - 9, y + 4)
        pen.poly(bow, x, y, x + 9, y - 4, x + 9, y + 3)
    pen.poly(c, 38, 1, 75, 30, 38, 68, 1, 30)
    tone = lighter(c, 0.55)
    pen.poly(tone, 38, 30, 38, 1, 1, 30, edge=False)
    pen.poly(tone, 38, 30, 75, 30, 38, 68, edge=False)
    pen.poly(c, 38, 1, 75, 30, 38, 30)
    pen.poly(c, 38, 68, 1, 30, 38, 30)
    pen.line(OUTLINE, 2, 38, 1, 75, 30, 38, 68, 1, 30, 38, 1)
    pen.ell(38, 30, 13, 13, GOLD)
    pen.ell(33, 27, 2, 2.6, OUTLINE, edge=False)
    pen.ell(43, 27, 2, 2.6, OUTLINE, edge=False)
    pen.arc((31, 25, 45, 38), (20, 160), OUTLINE, 1.8)


def chair(pen: Pen, c: Rgb) -> None:
    """Armchair: buttoned high back, rolled arms, pale cushion, wooden feet."""
    for x in (10, 62):
        pen.rect((x, 84, x + 8, 99), WOOD)
    pen.rect((12, 1, 68, 62), c, r=12)
    tone = darker(c, 0.4)
    for x0 in (16, 34, 52):
        pen.line(tone, 1.6, x0, 8, x0 + 14, 26)
        pen.line(tone, 1.6, x0 + 14, 8, x0, 26)
        pen.line(tone, 1.6, x0, 28, x0 + 14, 46)
        pen.line(tone, 1.6, x0 + 14, 28, x0, 46)
    for x in (23, 41, 59):
        for y in (17, 37):
            pen.ell(x, y, 2.8, 2.8, GOLD)
    pen.rect((8, 62, 72, 88), c, r=5)
    pen.rect((16, 52, 64, 68), (250, 240, 214), r=6)
    for s in (0, 1):
        x = 1 + s * 62
        pen.rect((x, 44, x + 17, 86), c, r=7)
        pen.ell(x + 8.5, 51, 5.5, 5.5, lighter(c, 0.3))


def table(pen: Pen, c: Rgb) -> None:
    """Checked cloth with a hanging scalloped edge on wooden legs."""
    other = WHITE if luminance(c) < 225 else (200, 198, 206)
    for x in (9, 80):
        pen.rect((x, 28, x + 10, 61), WOOD)
    pen.rect((1, 2, 99, 32), c, r=3)

    def checks(p: Pen) -> None:
        for i in range(13):
            for j in range(4):
                if (i + j) % 2:
                    p.rect((2 + i * 8, 2 + j * 8, 10 + i * 8, 10 + j * 8), other, edge=False)

    pen.clip(lambda p: p.rect((2.5, 3.5, 97.5, 30.5), c, r=2, edge=False), checks)
    for x in range(8, 98, 12):
        pen.pie((x - 6, 25, x + 6, 39), (0, 180), c)
    pen.line(OUTLINE, 1.6, 1, 12, 99, 12)


def lamp(pen: Pen, c: Rgb) -> None:
    """Trapezoid shade with rows of dots, golden pole, glowing bulb, round foot."""
    pen.limb(GOLD, 3, 29, 40, 29, 90)
    pen.ell(29, 45, 8, 7, (255, 246, 170))
    pen.poly(c, 15, 2, 43, 2, 57, 42, 1, 42)
    spot = WHITE if luminance(c) < 200 else (90, 120, 200)

    def dots(p: Pen) -> None:
        for row, y in enumerate((9, 19, 29)):
            for x in range(-1 + 6 * (row % 2), 64, 12):
                p.ell(x, y, 3.2, 3.2, spot, edge=False)
        p.rect((0, 36, 60, 42), GOLD)

    pen.clip(lambda p: p.poly(c, 16, 3.6, 42, 3.6, 55, 40.6, 3, 40.6, edge=False), dots)
    pen.ell(29, 62, 6, 6, GOLD)
    pen.ell(29, 93, 19, 6, (90, 64, 44))


def clock(pen: Pen, c: Rgb) -> None:
    """Thick coloured rim with studs, white face with ticks and red hands."""
    pen.ell(50, 50, 49, 49, c)
    for k in range(8):
        x, y = 50 + 41 * cos((k + 0.5) * pi / 4), 50 + 41 * sin((k + 0.5) * pi / 4)
        pen.ell(x, y, 3.4, 3.4, GOLD)
    pen.ell(50, 50, 33, 33, (252, 250, 240))
    for k in range(12):
        dx, dy = cos(k * pi / 6), sin(k * pi / 6)
        inner = 22 if k % 3 == 0 else 25
        pen.line(OUTLINE, 3.6, 50 + inner * dx, 50 + inner * dy, 50 + 29 * dx, 50 + 29 * dy)
    pen.line((214, 40, 44), 4.4, 50, 50, 50, 27)
    pen.line((214, 40, 44), 4.4, 50, 50, 66, 58)
    pen.ell(50, 50, 4, 4, OUTLINE, edge=False)


def robot(pen: Pen, c: Rgb) -> None:
    """Boxy body with a button panel, square head with cyan eyes, steel limbs, aerial."""
    pen.line(OUTLINE, 2.4, 36, 4, 36, 14)
    pen.ell(36, 5, 4.4, 4.4, (232, 50, 60))
    for s in (-1, 1):
        pen.limb(STEEL, 6, 36 + s * 22, 48, 36 + s * 30, 66)
        pen.ell(36 + s * 30, 69, 5.5, 5.5, c)
        pen.rect((36 + s * 12 - 5, 76, 36 + s * 12 + 5, 92), STEEL)
        pen.rect((36 + s * 13 - 9, 90, 36 + s * 13 + 9, 99), c, r=2)
        pen.rect((36 + s * 25 - 3, 19, 36 + s * 25 + 3, 30), STEEL)
    pen.rect((13, 11, 59, 38), c, r=4)
    for s in (-1, 1):
        pen.ell(36 + s * 11, 21, 6.4, 6.4, (110, 240, 250))
        pen.ell(36 + s * 11, 21, 2.4, 2.4, OUTLINE, edge=False)
    pen.rect((22, 29, 50, 35), STEEL)
    for x in (29, 36, 43):
        pen.line(OUTLINE, 1.6, x, 29, x, 35)
    pen.rect((11, 40, 61, 79), c, r=4)
    pen.rect((18, 46, 54, 66), (236, 238, 242), r=2)
    for x, color in ((25, (230, 60, 60)), (36, (250, 200, 50)), (47, (70, 180, 90))):
        pen.ell(x, 52, 3.8, 3.8, color)
    pen.line((50, 110, 220), 2.4, 21, 62, 28, 62, 31, 58, 36, 64, 41, 60, 50, 60)
    for x in (17, 26, 36, 46, 55):
        pen.ell(x, 73, 1.9, 1.9, contrast(c), edge=False)
