"""Animals, facing right."""

from __future__ import annotations

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

PINK: Rgb = (248, 170, 180)
CREAM: Rgb = (250, 232, 196)
DARK_BROWN: Rgb = (84, 50, 26)


def _eye(pen: Pen, x: float, y: float, r: float = 3.6) -> None:
    pen.ell(x, y, r, r, WHITE)
    pen.ell(x + r * 0.25, y, r * 0.5, r * 0.5, OUTLINE, edge=False)


def dog(pen: Pen, c: Rgb) -> None:
    """Floppy brown ears, cream muzzle and paws, red collar with a gold tag."""
    pen.limb(c, 7, 20, 40, 9, 28, 8, 17)
    for x in (20, 33, 54, 65):
        pen.rect((x, 52, x + 11, 78), c, r=3)
        pen.rect((x, 69, x + 11, 78), CREAM, r=3)
    pen.rect((14, 34, 78, 62), c, r=13)
    pen.ell(46, 57, 20, 5, CREAM, edge=False)
    pen.rect((58, 6, 90, 42), c, r=13)
    pen.rect((76, 20, 99, 40), CREAM, r=8)
    pen.ell(94, 22, 5, 4.4, OUTLINE, edge=False)
    pen.line(OUTLINE, 1.6, 82, 34, 94, 34)
    pen.poly((222, 40, 60), 58, 40, 80, 45, 78, 52, 56, 47)
    pen.ell(72, 53, 4.5, 4.5, (250, 205, 50))
    pen.ell(61, 21, 8.5, 17, DARK_BROWN)
    _eye(pen, 78, 15, 4.2)


def cat(pen: Pen, c: Rgb) -> None:
    """Sits; dark tabby stripes, pointed pink ears, big green eyes, ringed tail."""
    dark = darker(c, 0.5)
    pen.limb(c, 8, 48, 90, 64, 84, 62, 62, 54, 56)
    for y in (82, 72, 64):
        pen.line(dark, 3.5, 58, y, 67, y)
    body = (12.0, 44.0, 54.0, 98.0)
    pen.rect(body, c, r=19)

    def stripes(p: Pen) -> None:
        for y in (56, 65, 74, 83):
            p.poly(dark, 10, y, 24, y + 2.5, 10, y + 5, edge=False)
            p.poly(dark, 56, y, 42, y + 2.5, 56, y + 5, edge=False)

    pen.clip(lambda p: p.rect((13.5, 46, 52.5, 97), c, r=18, edge=False), stripes)
    pen.ell(33, 74, 9, 16, WHITE, edge=False)
    pen.ell(23, 95, 9, 5, WHITE)
    pen.ell(43, 95, 9, 5, WHITE)
    for s in (-1, 1):
        pen.poly(c, 33 + s * 27, 2, 33 + s * 26, 26, 33 + s * 6, 16)
        pen.poly(PINK, 33 + s * 24, 8, 33 + s * 23, 20, 33 + s * 12, 16, edge=False)
    pen.ell(33, 32, 28, 22, c)
    for x in (26, 33, 40):
        pen.line(dark, 3.4, x, 12, x, 21)
    for s in (-1, 1):
        pen.ell(33 + s * 12, 30, 6.5, 7, (120, 220, 90))
        pen.ell(33 + s * 12, 30, 2.4, 6, OUTLINE, edge=False)
        pen.line(OUTLINE, 1.2, 33 + s * 16, 41, 33 + s * 31, 38)
        pen.line(OUTLINE, 1.2, 33 + s * 16, 44, 33 + s * 31, 46)
    pen.ell(33, 45, 11, 7.5, WHITE, edge=False)
    pen.poly(PINK, 29, 39, 37, 39, 33, 44)


def bird(pen: Pen, c: Rgb) -> None:
    """Flies; raised wing with rows of feathers, orange beak and feet, pale belly."""
    pen.poly(darker(c, 0.25), 22, 54, 1, 46, 4, 58, 2, 68, 24, 64)
    pen.line((240, 140, 30), 3, 46, 76, 40, 84)
    pen.line((240, 140, 30), 3, 56, 76, 52, 84)
    pen.ell(50, 60, 32, 19, c)
    pen.ell(54, 67, 22, 10, WHITE, edge=False)
    pen.poly((245, 140, 20), 90, 38, 100, 46, 88, 51)
    pen.ell(77, 43, 16, 16, c)
    _eye(pen, 82, 39, 4.6)
    pen.poly(c, 38, 56, 8, 14, 20, 2, 44, 10, 64, 52)
    for x, y in ((8, 14), (16, 26), (24, 37)):
        pen.poly(WHITE, x, y, x + 12, y - 7, x + 24, y + 4, x + 14, y + 9)
    pen.line(darker(c, 0.4), 2.6, 30, 10, 52, 44)
    pen.line(darker(c, 0.4), 2.6, 39, 12, 57, 46)


def fish(pen: Pen, c: Rgb) -> None:
    """Two white bands, yellow tail and fins with rays, scales between."""
    yellow: Rgb = (252, 206, 40) if c != (250, 214, 46) else (245, 150, 40)
    pen.poly(yellow, 26, 32, 2, 8, 10, 32, 2, 58)
    for y in (18, 26, 38, 47):
        pen.line(OUTLINE, 1.4, 6, y, 22, 32)
    pen.poly(yellow, 38, 14, 52, 1, 70, 12)
    pen.poly(yellow, 46, 50, 54, 63, 64, 50)
    pen.ell(59, 32, 39, 23, c)

    def scales(p: Pen) -> None:
        tone = darker(c, 0.35)
        for row, y in enumerate(range(8, 60, 8)):
            for x in range(18 + 5 * (row % 2), 76, 10):
                p.arc((x - 5, y - 4, x + 5, y + 6), (90, 270), tone, 1.5)
        for x in (37, 66):
            p.rect((x, 0, x + 10, 64), WHITE)

    pen.clip(lambda p: p.ell(59, 32, 37.6, 21.6, c, edge=False), scales)
    pen.poly(yellow, 58, 34, 48, 44, 60, 42)
    _eye(pen, 85, 26, 5.6)
    pen.line(OUTLINE, 1.8, 90, 41, 97, 37)


def horse(pen: Pen, c: Rgb) -> None:
    """Long legs with black hooves, flowing mane and tail, red saddle with gold trim."""
    mane: Rgb = (250, 226, 160) if luminance(c) < 120 else (92, 52, 28)
    pen.poly(mane, 18, 40, 6, 44, 1, 60, 4, 80, 12, 72, 18, 54)
    for x in (18, 29, 57, 67):
        pen.rect((x, 58, x + 9, 99), c)
        pen.rect((x - 1, 90, x + 10, 99), OUTLINE)
    pen.ell(46, 50, 32, 18, c)
    pen.poly(c, 58, 44, 68, 12, 82, 8, 88, 22, 78, 58)
    pen.poly(c, 70, 6, 84, 5, 99, 26, 95, 35, 86, 34, 74, 22)
    pen.poly(c, 72, 8, 73, 0, 80, 6)
    pen.poly(mane, 72, 4, 62, 8, 54, 22, 52, 40, 60, 38, 64, 30, 70, 20, 76, 10)
    pen.ell(94, 29, 4.6, 4.6, PINK, edge=False)
    pen.ell(82, 14, 2.6, 2.6, OUTLINE, edge=False)
    pen.line((60, 40, 30), 2.2, 86, 22, 78, 30)
    pen.rect((34, 30, 54, 56), (206, 40, 52), r=4)
    pen.rect((34, 50, 54, 56), (250, 205, 60), r=2)
    pen.rect((38, 28, 52, 36), (110, 62, 30), r=3)


def cow(pen: Pen, c: Rgb) -> None:
    """Barrel body with large contrasting patches, horns, pink muzzle and udder, bell."""
    patch = contrast(c)
    pen.line(OUTLINE, 3, 10, 26, 3, 40, 4, 52)
    pen.ell(4, 55, 3.6, 5.4, patch)
    for x in (12, 24, 52, 64):
        pen.rect((x, 48, x + 10, 74), c)
        pen.rect((x, 67, x + 10, 74), OUTLINE)
    pen.ell(42, 57, 9, 7, PINK)
    pen.rect((8, 18, 78, 58), c, r=12)

    def patches(p: Pen) -> None:
        p.ell(22, 28, 13, 12, patch, edge=False)
        p.ell(46, 46, 12, 9, patch, edge=False)
        p.ell(58, 22, 12, 8, patch, edge=False)
        p.ell(14, 52, 8, 7, patch, edge=False)
        p.ell(72, 46, 7, 9, patch, edge=False)

    pen.clip(lambda p: p.rect((9.6, 19.6, 76.4, 56.4), c, r=11, edge=False), patches)
    for s in (-1, 1):
        pen.poly(CREAM, 80 + s * 5, 12, 80 + s * 13, 0, 80 + s * 12, 14)
        pen.ell(80 + s * 15, 18, 6, 4, patch)
    pen.rect((66, 10, 94, 46), c, r=9)
    pen.ell(72, 20, 6, 8, patch, edge=False)
    pen.rect((64, 33, 96, 52), PINK, r=8)
    for s in (-1, 1):
        pen.ell(80 + s * 8, 42, 2.2, 3, OUTLINE, edge=False)
        pen.ell(80 + s * 7, 22, 2.8, 3.4, WHITE if s < 0 else OUTLINE, edge=False)
        pen.ell(80 + s * 7, 22, 1.7, 2.2, OUTLINE, edge=False)
    pen.poly((250, 205, 50), 74, 53, 84, 53, 87, 64, 71, 64)


def rabbit(pen: Pen, c: Rgb) -> None:
    """Two long pink ears, white belly and cheeks, a carrot in its paws."""
    for s in (-1, 1):
        pen.ell(31 + s * 10, 18, 8, 18, c)
        pen.ell(31 + s * 10, 18, 4, 13, PINK, edge=False)
    pen.ell(55, 86, 8, 8, WHITE)
    pen.ell(31, 74, 25, 24, c)
    pen.ell(31, 78, 15, 17, WHITE, edge=False)
    pen.ell(31, 43, 21, 17, c)
    for s in (-1, 1):
        pen.ell(31 + s * 9, 39, 3.6, 4.6, OUTLINE, edge=False)
        pen.ell(31 + s * 9 + 1, 37, 1.3, 1.6, WHITE, edge=False)
        pen.ell(31 + s * 6, 50, 6.4, 5, WHITE, edge=False)
        pen.ell(31 + s * 15, 95, 11, 4.6, c)
    pen.rect((28, 52, 34, 58), WHITE)
    pen.poly(PINK, 27, 45, 35, 45, 31, 49)
    pen.poly((250, 120, 20), 22, 62, 44, 68, 42, 75, 8, 76)
    for x in (22, 30):
        pen.line((190, 80, 10), 1.6, x, 67, x - 2, 75)
    pen.poly((70, 180, 70), 42, 68, 58, 58, 54, 67, 60, 73, 43, 75)


def butterfly(pen: Pen, c: Rgb) -> None:
    """Four wings with a dark border of white dots and a ringed eye spot on each."""
    edge: Rgb = (40, 36, 48) if luminance(c) > 75 else (205, 205, 210)
    spot: Rgb = (255, 236, 130) if c != (250, 214, 46) else (255, 255, 255)
    for s in (-1, 1):
        pen.poly(edge, 50, 42, 50 + s * 20, 4, 50 + s * 46, 2, 50 + s * 49, 22, 50 + s * 36, 44)
        pen.poly(edge, 50, 44, 50 + s * 40, 46, 50 + s * 42, 66, 50 + s * 24, 82, 50 + s * 8, 70)
        upper = (50, 42, 50 + s * 22, 12, 50 + s * 38, 10, 50 + s * 40, 24, 50 + s * 30, 39)
        lower = (50, 46, 50 + s * 33, 50, 50 + s * 34, 63, 50 + s * 22, 73, 50 + s * 9, 64)
        pen.poly(c, *upper, edge=False)
        pen.poly(c, *lower, edge=False)
        for x, y in ((24, 6.6), (34, 5.4), (43.5, 8), (44.6, 18), (40, 32)):
            pen.ell(50 + s * x, y, 2, 2, WHITE if edge[0] < 100 else OUTLINE, edge=False)
        for x, y in ((38, 64), (31, 72), (22, 77.5)):
            pen.ell(50 + s * x, y, 2, 2, WHITE if edge[0] < 100 else OUTLINE, edge=False)
        pen.ell(50 + s * 29, 23, 7, 7, spot)
        pen.ell(50 + s * 29, 23, 3, 3, (60, 90, 200), edge=False)
        pen.ell(50 + s * 22, 60, 5.4, 5.4, spot)
        pen.line(OUTLINE, 1.6, 50, 20, 50 + s * 9, 3)
    pen.ell(50, 44, 4, 27, (60, 44, 40))
    pen.ell(50, 19, 5, 5, lighter((60, 44, 40), 0.15))
