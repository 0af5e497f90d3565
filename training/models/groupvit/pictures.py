"""Pictures of what a GroupViT makes of pictures: groups of both stages, and where naming fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data import transforms
from training.data.rows import Row
from training.metrics.segmentation import LabelMap
from training.models.groupvit import segments
from training.models.groupvit.export import Trained
from training.models.groupvit.scores import classes_of, name, target

_SIDE, _LINE = 224, 16
_SHOWN, _FAILED = 8, 8
_NAMED = 5
"""Classes that the title of a tile lists."""

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
    named = name(trained, shown, segments.embedded(trained, names), truth)
    picture = transforms.resize(row, (_SIDE, _SIDE)).pixels()
    tiles = [_tile(picture, "picture")]
    if failure:
        maps = ((named.found, "found"), (named.oracle, "oracle"), (truth, "truth"))
        tiles += [_classes(picture, map_, names, title) for map_, title in maps]
    else:
        for number, groups in enumerate(named.stages, 1):
            used = len(np.unique(groups))
            tiles.append(_tile(_painted(picture, groups), f"stage {number}: {used} groups"))
        tiles.append(_classes(picture, named.found, names, "found"))
    sheet = Image.new("RGB", (len(tiles) * _SIDE, _SIDE + _LINE), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number * _SIDE, 0))
    return sheet


def _classes(picture: Pixels, found: LabelMap, names: Sequence[str], title: str) -> Image.Image:
    """Pixels in the colours of their classes, the largest ones named in the title."""
    held, counts = np.unique(found[found >= 0], return_counts=True)
    order = held[np.argsort(-counts, kind="stable")][:_NAMED]
    listed = ", ".join(names[number] for number in order)
    return _tile(_painted(picture, found), f"{title}: {listed}")


def _painted(picture: Pixels, numbers: LabelMap) -> Pixels:
    """The picture in the colours of its numbers (H, W), the same for equal ones; none where < 0."""
    rows = (np.arange(_SIDE) + 0.5) * len(numbers) / _SIDE
    columns = (np.arange(_SIDE) + 0.5) * numbers.shape[1] / _SIDE
    small = numbers[np.ix_(rows.astype(int), columns.astype(int))]
    # Steps of the golden ratio around the circle keep neighbouring numbers apart.
    hue = (small * 0.618034 % 1.0)[..., None] * 2 * np.pi
    color = 127.5 * (1 + np.cos(hue - np.array([0.0, 2.1, 4.2])))
    mixed = np.where((small >= 0)[..., None], 0.35 * picture + 0.65 * color, picture)
    return mixed.round().astype(np.uint8)


def _tile(picture: Pixels, title: str) -> Image.Image:
    tile = Image.new("RGB", (_SIDE, _SIDE + _LINE), "white")
    tile.paste(Image.fromarray(picture), (0, 0))
    ImageDraw.Draw(tile).text((3, _SIDE + 2), title[:38], fill="black")
    return tile
