"""Labels of objects: small coloured plates, placed so that they seldom cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from grand_pipeline.show.style import Rgb, drawable, font, width_of

Rect = tuple[float, float, float, float]

PAD_X, PAD_Y = 6, 3


@dataclass(frozen=True)
class Chip:
    """A plate to place near `anchor` (xyxy in picture pixels). `hollow` ones are only outlined."""

    text: str
    color: Rgb
    anchor: Rect
    hollow: bool = False
    centered: bool = False


def place(chips: Sequence[Chip], size: tuple[int, int], text_size: int) -> list[Rect]:
    """A place for each chip inside a picture of `size` (width, height), in the given order.

    Chips of small anchors choose first, because they have the fewest good places.
    """
    order = sorted(range(len(chips)), key=lambda i: (chips[i].centered, _area(chips[i].anchor)))
    things = [chip.anchor for chip in chips if not chip.centered]
    taken: list[Rect] = []
    found: dict[int, Rect] = {}
    for index in order:
        best = min(
            _candidates(chips[index], size, text_size),
            key=lambda c: _badness(c, chips[index], taken, things),
        )
        found[index] = best[1]
        taken.append(best[1])
    return [found[index] for index in range(len(chips))]


def draw(pen: ImageDraw.ImageDraw, chip: Chip, rect: Rect, text_size: int) -> None:
    """One chip at its place."""
    fill = (255, 255, 255) if chip.hollow else chip.color
    ink = chip.color if chip.hollow else (255, 255, 255)
    edge = chip.color if chip.hollow else (255, 255, 255)
    pen.rounded_rectangle(rect, radius=5, fill=fill, outline=edge, width=1)
    middle = (rect[1] + rect[3]) / 2
    at = (rect[0] + PAD_X, middle)
    pen.text(at, drawable(chip.text), fill=ink, font=font(text_size), anchor="lm")


Candidate = tuple[float, Rect]
"""How unusual a place is (0 = preferred), and the place."""


def _candidates(chip: Chip, size: tuple[int, int], text_size: int) -> list[Candidate]:
    width = width_of(chip.text, text_size) + 2 * PAD_X
    height = text_size + 2 * PAD_Y + 2
    x1, y1, x2, y2 = chip.anchor
    middle = (x1 + x2 - width) / 2
    if chip.centered:
        rows = [y1 + (y2 - y1 - height) * step / 10 for step in (5, 4, 6, 3, 7, 2, 8, 1, 9, 0, 10)]
        columns = [x1 + (x2 - x1 - width) * step / 8 for step in (4, 3, 5, 2, 6, 1, 7, 0, 8)]
        places = [(x, y) for y in rows for x in columns]
    else:
        places = [
            *((x, y1 - height - 1) for x in (x1, middle, x2 - width)),
            *((x, y1 + 3) for x in (x1 + 3, x2 - width - 3)),
            *((x, y2 + 1) for x in (x1, middle, x2 - width)),
            *((x, y2 - height - 3) for x in (x1 + 3, x2 - width - 3)),
            *((x, y) for y in (y1, (y1 + y2 - height) / 2) for x in (x2 + 1, x1 - width - 1)),
            (middle, (y1 + y2 - height) / 2),
            *((x1, y1 - (step + 1) * (height + 1)) for step in (1, 2)),
            *((x1, y2 + step * (height + 1)) for step in (1, 2)),
        ]
    limit_x, limit_y = size[0] - width - 1, size[1] - height - 1
    found: list[Candidate] = []
    for rank, (x, y) in enumerate(places):
        left, top = min(max(x, 1.0), max(limit_x, 1.0)), min(max(y, 1.0), max(limit_y, 1.0))
        moved = abs(left - x) + abs(top - y)
        found.append((rank * 0.01 + moved * 0.002, (left, top, left + width, top + height)))
    return found


def _badness(
    candidate: Candidate, chip: Chip, taken: Sequence[Rect], things: Sequence[Rect]
) -> float:
    """Covering another chip is worst, covering another object is bad, an odd place a little."""
    rank, rect = candidate
    covered = sum(_overlap(rect, other) for other in taken) / _area(rect)
    others = [other for other in things if other != chip.anchor]
    hidden = sum(_overlap(rect, other) / max(1.0, _area(other)) for other in others)
    return 6 * covered + (1.5 if chip.centered else 0.8) * hidden + rank


def _area(rect: Rect) -> float:
    return max(0.0, rect[2] - rect[0]) * max(0.0, rect[3] - rect[1])


def _overlap(a: Rect, b: Rect) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
