"""Pictures of what a trained tower says: who is taken for whom, and what every patch shows."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from training.data.rows import Row
from training.metrics.classification import Classes, confusion
from training.models.densevlm.batches import fitted
from training.models.densevlm.export import Trained
from training.models.densevlm.regions import pool_boxes
from training.models.densevlm.scores import Seen, see

_SIDE, _SPLIT = 512, 8
_CELL, _MARGIN = 12, 90
_NAMED = 80
"""Categories that a confusion matrix writes names for."""
_SCALE = 100.0
_LEGEND, _LINE = 8, 20
"""Categories of a line of a legend; pixels of a line."""


def draw(trained: Trained, seen: Seen, rows: Sequence[Row], out: Path) -> list[Path]:
    """Write PNG into `out` and return their paths.

    `confusion.png`: of the masks of every true category (rows), the share called each category
    (columns), things before stuff (figures S1 to S4). `<image>-patches.png`: each row's picture,
    every patch in the colour of its category, and the category of each cell of a grid, fainter
    the less sure it is (figure S5); below, the categories of the patches, frequent ones first.
    """
    out.mkdir(parents=True, exist_ok=True)
    target = np.concatenate([seen.things.target, seen.stuff.target])
    like = np.concatenate([seen.things.likeness, seen.stuff.likeness])
    table = confusion(like.argmax(1).astype(np.int64), target, len(trained.names))
    written = [out / "confusion.png"]
    matrix(table, trained.names, len(trained.things)).save(written[0])
    if rows:
        for row, patches in zip(rows, see(trained, rows), strict=True):
            written.append(out / f"{row.image_id}-patches.png")
            _patches(trained, row, patches).save(written[-1])
    return written


def matrix(table: Classes, names: Sequence[str], things: int) -> Image.Image:
    """Counts (C, C) of (true, called) as a picture; lines part things from stuff.

    A row is scaled by its sum. Names are written where there are no more than 80.
    """
    count = len(names)
    cell, margin = (_CELL, _MARGIN) if count <= _NAMED else (max(3, 960 // count), 0)
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    blue = np.stack([255 * (1 - share), 255 - 155 * share, np.full_like(share, 255)], 2)
    cells = Image.fromarray(blue.round().astype(np.uint8)).resize(
        (count * cell, count * cell), Image.Resampling.NEAREST
    )
    page = Image.new("RGB", (margin + count * cell, margin + count * cell), "white")
    page.paste(cells, (margin, margin))
    pen = ImageDraw.Draw(page)
    if margin:
        # Written once beside the rows, and turned above the columns.
        names_of = _lines(names, cell, margin)
        page.paste(names_of, (0, margin))
        page.paste(names_of.transpose(Image.Transpose.ROTATE_90), (margin, 0))
        pen.text((2, margin - 2 * cell), "rows: true", fill="gray")
        pen.text((2, margin - 3 * cell), "columns: called", fill="gray")
    edge, end = margin + things * cell, margin + count * cell
    pen.line((edge, margin, edge, end), fill="red")
    pen.line((margin, edge, end, edge), fill="red")
    return page


def _lines(names: Sequence[str], height: int, width: int) -> Image.Image:
    """Names below each other."""
    page = Image.new("RGB", (width, height * len(names)), "white")
    pen = ImageDraw.Draw(page)
    for number, name in enumerate(names):
        pen.text((2, number * height), name[:14], fill="black")
    return page


def _patches(trained: Trained, row: Row, patches: Tensor) -> Image.Image:
    picture = Image.fromarray(fitted(row, _SIDE)[0].pixels())
    said = (patches @ trained.texts.to(patches).T).argmax(2).cpu().numpy()
    palette = _colors(len(trained.names))
    colors = np.array(palette, np.uint8)[said]
    size = (_SIDE, _SIDE)
    tinted = Image.fromarray(colors).resize(size, Image.Resampling.NEAREST)
    numbers, counts = np.unique(said, return_counts=True)
    frequent = numbers[np.argsort(-counts, kind="stable")].tolist()
    legend = _legend([(trained.names[number], palette[number]) for number in frequent])
    page = Image.new("RGB", (3 * _SIDE, _SIDE + legend.height), "white")
    page.paste(legend, (0, _SIDE))
    page.paste(picture, (0, 0))
    page.paste(Image.blend(picture, tinted, 0.6), (_SIDE, 0))
    page.paste(_grid(trained, picture, patches), (2 * _SIDE, 0))
    return page


def _legend(named: Sequence[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """Names with their colours, in lines as wide as a page."""
    lines = -(-len(named) // _LEGEND)
    page = Image.new("RGB", (3 * _SIDE, _LINE * lines), "white")
    pen = ImageDraw.Draw(page)
    for number, (name, color) in enumerate(named):
        x, y = number % _LEGEND * page.width // _LEGEND, number // _LEGEND * _LINE
        pen.rectangle((x + 4, y + 4, x + 15, y + 15), fill=color, outline="gray")
        pen.text((x + 20, y + 4), name, fill="black")
    return page


def _grid(trained: Trained, picture: Image.Image, patches: Tensor) -> Image.Image:
    """The picture with the category of each of its cells: things in red, stuff in blue."""
    marks = np.arange(_SPLIT) / _SPLIT
    left, top = (axis.ravel() for axis in np.meshgrid(marks, marks))
    cells = np.stack([left, top, left + 1 / _SPLIT, top + 1 / _SPLIT], 1).astype(np.float32)
    found = pool_boxes(patches[None], torch.from_numpy(cells)[None].to(patches))[0]
    logits = _SCALE * F.normalize(found, dim=1) @ trained.texts.to(found).T
    sure, best = (value.tolist() for value in logits.softmax(1).max(1))
    page = Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.5)
    pen = ImageDraw.Draw(page)
    for (x, y, x2, y2), share, number in zip(cells * _SIDE, sure, best, strict=True):
        fade = round(200 * (1 - share))
        color = (200, fade, fade) if number < len(trained.things) else (fade, fade, 200)
        pen.rectangle((x, y, x2 - 1, y2 - 1), outline=(220, 220, 220))
        pen.text((x + 2, y + 2), trained.names[number][:10], fill=color)
        pen.text((x + 2, y + 16), f"{share:.2f}", fill=color)
    return page


def _colors(count: int) -> list[tuple[int, int, int]]:
    """Colours that are far apart for neighbours."""
    hues = [(0.618034 * number) % 1.0 for number in range(count)]
    made = [colorsys.hsv_to_rgb(h, 0.75, 0.7 + 0.3 * (n % 2)) for n, h in enumerate(hues)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in made]
