"""Pictures of what a trained X-VLM says: boxes of expressions, and where every word looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from grand_pipeline.types import FloatArray
from training.data import transforms
from training.data.filters import normalized
from training.data.rows import Row
from training.models.xvlm import attention
from training.models.xvlm.export import Trained
from training.models.xvlm.scores import Seen, locate, look, read

_SIDE, _LINE, _GAP = 224, 16, 6
_FOUND, _TRUE = (214, 39, 40), (44, 160, 44)
_BOXES = 6
"""Expressions of a picture that are drawn."""


def draw(aligned: Trained, located: Trained, rows: Sequence[Row], out: Path) -> list[Path]:
    """Write two PNG per picture into `out` and return their paths.

    `<image>-boxes.png`: expressions with the box that `located` gives (red) and that of the row
    (green). `<image>-words.png`: the heat of every word of its first caption, by Grad-CAM of
    `aligned` (figure 3 of the paper).
    """
    out.mkdir(parents=True, exist_ok=True)
    if not rows:
        return []
    seen, sought = look(aligned, rows), look(located, rows)
    boxes = locate(located, sought)
    written = []
    for place, row in enumerate(rows):
        picture = transforms.resize(row, (_SIDE, _SIDE)).pixels()
        numbers = [n for n, e in enumerate(seen.expressions) if e.place == place][:_BOXES]
        tiles = [_boxed(picture, seen, boxes, number) for number in numbers]
        if tiles:
            written.append(_save(tiles, out / f"{row.image_id}-boxes.png"))
        if seen.captions[place]:
            tiles = _words(aligned, picture, seen.patches[place], seen.captions[place][0])
            written.append(_save(tiles, out / f"{row.image_id}-words.png"))
    return written


def _boxed(picture: np.ndarray, seen: Seen, boxes: FloatArray, number: int) -> Image.Image:
    expression = seen.expressions[number]
    tile = _tile(picture, expression.text)
    pen = ImageDraw.Draw(tile)
    for box, color in ((expression.box, _TRUE), (boxes[number].tolist(), _FOUND)):
        x1, y1, x2, y2 = (round(v * (_SIDE - 1)) for v in box)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=2)
    return tile


def _words(
    trained: Trained, picture: np.ndarray, patches: Tensor, caption: str
) -> list[Image.Image]:
    texts = read(trained, [caption])
    maps = attention.enlarged(attention.heat(trained.model, patches[None], texts)[0], _SIDE)
    made = trained.tokenizer(normalized(caption))
    numbers, places = made.word_ids(), len(texts.mask[0])
    names = normalized(caption).split()
    tiles = []
    for number, name in enumerate(names):
        own = [at for at, word in enumerate(numbers[:places]) if word == number]
        if own:
            tiles.append(_tile(_heated(picture, maps[own].mean(0)), name))
    return tiles or [_tile(picture, caption)]


def _heated(picture: np.ndarray, heat: Tensor) -> np.ndarray:
    """The picture, red where the heat is."""
    share = (heat - heat.min()) / (heat.max() - heat.min()).clamp(min=1e-12)
    weight = 0.7 * share.clamp(0, 1).cpu().numpy()[..., None]
    mixed = picture * (1 - weight) + np.array(_FOUND) * weight
    return mixed.round().astype(np.uint8)


def _tile(picture: np.ndarray, title: str) -> Image.Image:
    tile = Image.new("RGB", (_SIDE, _SIDE + _LINE), "white")
    tile.paste(Image.fromarray(picture), (0, 0))
    ImageDraw.Draw(tile).text((3, _SIDE + 2), title[:40], fill="black")
    return tile


def _save(tiles: Sequence[Image.Image], path: Path, across: int = 6) -> Path:
    wide, high = _SIDE + _GAP, _SIDE + _LINE
    rows = -(-len(tiles) // across)
    sheet = Image.new("RGB", (min(len(tiles), across) * wide - _GAP, rows * high), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % across * wide, number // across * high))
    sheet.save(path)
    return path
