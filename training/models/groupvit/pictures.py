"""Pictures of what a GroupViT makes of pictures: groups of both stages, and where naming fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.data import transforms
from training.data.rows import Row
from training.metrics.segmentation import LabelMap
from training.models.groupvit import segments
from training.models.groupvit.export import Trained
from training.models.groupvit.scores import classes_of, name, target

_SIDE, _LINE, _LETTERS = 256, 18, 11
_SHOWN, _FAILED = 8, 8
_LEAST = 0.004
"""Share of the pixels from which on a class has its name written on it."""

Pixels = NDArray[np.uint8]


def draw(trained: Trained, rows: Sequence[Row], gaps: Sequence[float], out: Path) -> list[Path]:
    """Write PNG files into `out` and return their paths.

    `groups-<image>.png` of the first rows: the picture, its groups after each stage, and the
    classes that they are given (figure 5 of the supplement). `failure-<image>.png` of the rows with
    the largest of the `gaps`: the classes given, those of an oracle, and the true ones (figure 6).
    A plain ViT has no groups and no pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = classes_of(rows)
    if not names or not trained.model.sizes.groups:
        return []
    worst = np.argsort(-np.array(gaps), kind="stable")[:_FAILED]
    written = []
    for kind, chosen in (("groups", range(min(_SHOWN, len(rows)))), ("failure", worst)):
        for place in chosen:
            row = rows[int(place)]
            path = out / f"{kind}-{row.image_id}.png"
            _sheet(trained, row, names, failure=kind == "failure").save(path)
            written.append(path)
    return written


def _sheet(trained: Trained, row: Row, names: Sequence[str], *, failure: bool) -> Image.Image:
    truth = target(row, names)
    shown = segments.look(trained, row.open_image())
    named = name(trained, shown, segments.embedded(trained, names), truth, hard=True)
    picture = transforms.resize(row, (_SIDE, _SIDE)).pixels()
    found = _classes(picture, named.found, names, f"found: {_right(named.found, truth)}")
    tiles = [_tile(picture, "picture")]
    if failure:
        oracle = _classes(picture, named.oracle, names, f"oracle: {_right(named.oracle, truth)}")
        tiles += [found, oracle, _classes(picture, truth, names, "truth")]
    else:
        for number, groups in enumerate(named.stages, 1):
            used = len(np.unique(groups))
            tiles.append(
                _tile(_painted(picture, _fitted(groups)), f"stage {number}: {used} groups")
            )
        tiles.append(found)
    sheet = Image.new("RGB", (len(tiles) * _SIDE, _SIDE + _LINE), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number * _SIDE, 0))
    return sheet


def _right(found: LabelMap, truth: LabelMap) -> str:
    known = truth >= 0
    return f"{100 * (found == truth)[known].mean() if known.any() else 0:.0f} % of the pixels right"


def _classes(picture: Pixels, found: LabelMap, names: Sequence[str], title: str) -> Image.Image:
    """Pixels in the colours of their classes, whose names are written on them."""
    small = _fitted(found)
    tile = _tile(_painted(picture, small), title)
    pen = ImageDraw.Draw(tile)
    font = ImageFont.load_default(_LETTERS)
    for number in np.unique(small[small >= 0]):
        rows, columns = np.nonzero(small == number)
        if len(rows) < _LEAST * small.size:
            continue
        # The middle of a class may lie outside of it; the pixel of its own next to it does not.
        near = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
        pen.text(
            (int(columns[near]), int(rows[near])),
            names[number],
            fill="black",
            font=font,
            anchor="mm",
            stroke_width=2,
            stroke_fill="white",
        )
    return tile


def _fitted(numbers: LabelMap) -> LabelMap:
    """A map (H, W) at the size of a tile."""
    rows = (np.arange(_SIDE) + 0.5) * len(numbers) / _SIDE
    columns = (np.arange(_SIDE) + 0.5) * numbers.shape[1] / _SIDE
    return np.asarray(numbers[np.ix_(rows.astype(int), columns.astype(int))])


def _painted(picture: Pixels, small: LabelMap) -> Pixels:
    """The picture in the colours of its numbers, the same for equal ones, with lines between
    different ones; as it is where they are negative."""
    # Steps of the golden ratio around the circle keep neighbouring numbers apart.
    hue = (small * 0.618034 % 1.0)[..., None] * 2 * np.pi
    color = 127.5 * (1 + np.cos(hue - np.array([0.0, 2.1, 4.2])))
    mixed = np.where((small >= 0)[..., None], 0.4 * picture + 0.6 * color, picture)
    mixed[:-1][small[:-1] != small[1:]] *= 0.3
    mixed[:, :-1][small[:, :-1] != small[:, 1:]] *= 0.3
    return mixed.round().astype(np.uint8)


def _tile(picture: Pixels, title: str) -> Image.Image:
    tile = Image.new("RGB", (_SIDE, _SIDE + _LINE), "white")
    tile.paste(Image.fromarray(picture), (0, 0))
    font = ImageFont.load_default(_LETTERS)
    ImageDraw.Draw(tile).text((4, _SIDE + 3), title, fill="black", font=font)
    return tile
