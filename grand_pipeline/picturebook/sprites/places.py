"""Plants and buildings."""

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

WOOD: Rgb = (140, 92, 52)
LEAF: Rgb = (76, 170, 76)
GOLD: Rgb = (252, 205, 50)


def tree(pen: Pen, c: Rgb) -> None:
    """Cloud-shaped crown with leaf marks and round fruit on a brown trunk."""
    pen.poly(WOOD, 31, 58, 45, 58, 50, 99, 26, 99)
    for x in (34, 40):
        pen.line((92, 56, 28), 1.8, x, 74, x - 1, 95)
    blobs = ((38, 22, 24, 20), (19, 40, 18, 18), (57, 40, 18, 18), (38, 48, 24, 19))
    for x, y, rx, ry in blobs:
        pen.ell(x, y, rx, ry, c)
    for x, y, rx, ry in blobs:
        pen.ell(x, y, rx - 1.8, ry - 1.8, c, edge=False)
    tone = darker(c, 0.4)
    for x, y in (
        (28, 12),
        (46, 10),
        (14, 30),
        (34, 26),
        (54, 26),
        (66, 36),
        (20, 44),
        (38, 42),
        (56, 46),
        (28, 58),
        (46, 58),
    ):
        pen.line(tone, 2.6, x - 4, y + 2, x, y - 2.5, x + 4, y + 2)
    fruit: Rgb = (226, 40, 44) if not (c[0] > 200 and c[1] < 100) else GOLD
    for x, y in ((38, 17), (22, 35), (48, 33), (62, 45), (33, 52), (50, 52)):
        pen.ell(x, y, 3.8, 3.8, fruit)


def flower(pen: Pen, c: Rgb) -> None:
    """Ring of petals round a dotted yellow heart, green leaves, terracotta pot."""
    pen.limb(LEAF, 3.5, 31, 46, 31, 80)
    pen.poly(LEAF, 31, 70, 12, 54, 8, 64, 16, 72)
    pen.poly(LEAF, 31, 66, 50, 52, 54, 62, 46, 70)
    for k in range(8):
        x, y = 31 + 18 * cos(k * pi / 4), 28 + 17 * sin(k * pi / 4)
        pen.ell(x, y, 10.5, 10, c)
        pen.line(darker(c, 0.3), 1.6, x, y, 31 + 10 * cos(k * pi / 4), 28 + 10 * sin(k * pi / 4))
    heart: Rgb = GOLD if not (c[0] > 240 and 190 < c[1] < 235) else (150, 90, 40)
    pen.ell(31, 28, 11, 11, heart)
    for x, y in ((27, 25), (34, 24), (31, 30), (26, 32), (36, 32)):
        pen.ell(x, y, 1.4, 1.4, OUTLINE, edge=False)
    pen.poly((205, 105, 60), 15, 78, 47, 78, 43, 99, 19, 99)
    pen.rect((12, 76, 50, 83), (222, 124, 74), r=1)
    pen.line(WHITE, 2, 19, 93, 24, 88, 29, 93, 34, 88, 39, 93, 43, 88)


def mushroom(pen: Pen, c: Rgb) -> None:
    """Wide cap with white dots (dark on a white cap), cream stalk with gills."""
    stalk: Rgb = (250, 236, 208)
    pen.poly(stalk, 32, 48, 58, 48, 64, 88, 26, 88)
    for x in (38, 45, 52):
        pen.line((205, 182, 140), 1.8, x, 62, x, 84)
    pen.poly(stalk, 22, 56, 68, 56, 58, 66, 32, 66)
    pen.pie((1, 2, 89, 108), (180, 360), c)
    spot = WHITE if luminance(c) < 225 else (228, 90, 80)

    def dots(p: Pen) -> None:
        for x, y, r in (
            (45, 18, 8),
            (20, 36, 7.5),
            (68, 34, 8.5),
            (45, 44, 7),
            (30, 16, 4),
            (62, 14, 4),
            (5, 50, 5),
            (84, 52, 5),
        ):
            p.ell(x, y, r, r * 0.9, spot, edge=False)

    pen.clip(lambda p: p.pie((2.6, 3.6, 87.4, 106), (180, 360), c, edge=False), dots)
    for x in (14, 22, 66, 74):
        pen.poly(LEAF, x - 4, 89, x, 76, x + 4, 89)


def house(pen: Pen, c: Rgb) -> None:
    """Brick walls in the main colour, tiled dark roof, chimney, lit window, door."""
    roof: Rgb = (118, 58, 52)
    pen.rect((64, 6, 76, 34), (160, 96, 70))
    pen.rect((10, 40, 80, 98), c)
    mortar = darker(c, 0.32)
    for row, y in enumerate(range(48, 98, 8)):
        pen.line(mortar, 1.5, 12, y, 78, y)
        for x in range(20 + 6 * (row % 2), 78, 12):
            pen.line(mortar, 1.5, x, y, x, min(96, y + 8))
    pen.poly(roof, 1, 44, 45, 3, 89, 44)

    def tiles(p: Pen) -> None:
        for row, y in enumerate(range(6, 46, 8)):
            for x in range(-4 + 5 * (row % 2), 96, 10):
                p.arc((x, y - 4, x + 10, y + 5), (0, 180), (196, 130, 116), 1.6)

    pen.clip(lambda p: p.poly(roof, 5, 42, 45, 6, 85, 42, edge=False), tiles)
    pen.rect((18, 56, 40, 78), (255, 232, 130))
    pen.line(OUTLINE, 2, 29, 56, 29, 78)
    pen.line(OUTLINE, 2, 18, 67, 40, 67)
    pen.rect((50, 62, 70, 98), (96, 58, 34), r=2)
    pen.ell(66, 81, 2, 2, GOLD, edge=False)


def tent(pen: Pen, c: Rgb) -> None:
    """Triangle with a zigzag border, open dark door with cream flaps, flag."""
    pen.line(OUTLINE, 2.4, 50, 1, 50, 16)
    pen.poly((236, 70, 70), 51, 1, 66, 5, 51, 10)
    pen.poly(c, 50, 12, 96, 73, 4, 73)

    def border(p: Pen) -> None:
        zigzag: list[float] = []
        for i, x in enumerate(range(-2, 108, 6)):
            zigzag += [x, 66 if i % 2 else 57]
        p.line(contrast(c), 3.2, *zigzag)
        p.line(darker(c, 0.35), 2, 50, 12, 22, 74)
        p.line(darker(c, 0.35), 2, 50, 12, 78, 74)

    pen.clip(lambda p: p.poly(c, 50, 15, 93, 72, 7, 72, edge=False), border)
    pen.poly((62, 48, 44), 50, 34, 62, 73, 38, 73)
    pen.poly((250, 232, 190), 50, 34, 39, 73, 33, 73)
    pen.poly((250, 232, 190), 50, 34, 61, 73, 67, 73)
    for x in (1, 96):
        pen.rect((x, 69, x + 3, 74), WOOD)


def lighthouse(pen: Pen, c: Rgb) -> None:
    """Tall tapering tower with broad rings of the main colour, yellow lamp room."""
    other = WHITE if luminance(c) < 225 else (196, 192, 200)
    pen.poly((120, 116, 122), 2, 99, 8, 88, 42, 88, 48, 99)
    pen.poly(c, 16, 28, 34, 28, 41, 92, 9, 92)

    def rings(p: Pen) -> None:
        for y in (38, 60, 82):
            p.rect((0, y, 60, y + 9), other)

    pen.clip(lambda p: p.poly(c, 17, 29, 33, 29, 39.6, 91, 10.4, 91, edge=False), rings)
    pen.rect((11, 24, 39, 30), (70, 70, 80), r=1)
    pen.rect((16, 11, 34, 25), (255, 226, 90))
    pen.line(OUTLINE, 1.8, 25, 11, 25, 25)
    pen.poly(darker(c, 0.1), 12, 12, 25, 1, 38, 12)
    pen.rect((20, 49, 30, 58), lighter((110, 160, 190), 0.3), r=2)
