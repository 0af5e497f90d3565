"""Render one scene: deterministic in (seed, index) and the options."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from grand_pipeline.picturebook.ground import Ground, depth_map, make_ground
from grand_pipeline.picturebook.scene import (
    MIN_SIDE,
    MIN_VISIBLE,
    Placed,
    Scene,
    SceneObject,
    sample,
)
from grand_pipeline.picturebook.sprites import sprite
from grand_pipeline.picturebook.vocabulary import COLORS, SCENES

Mask = npt.NDArray[np.bool_]

_SHADOW = (70, 66, 86)
_SHADOW_STRENGTH = 70


def render(
    seed: int, index: int, *, size: int = 256, held_out: bool = False, unnamed: float = 0.0
) -> Scene:
    """Draw picture `index` of the series `seed`, with its exact truth.

    Args:
        seed: names the series; the same seed gives the same pictures on any machine.
        index: number of the picture in the series.
        size: side of the square picture in pixels.
        held_out: also draw the pairs of `vocabulary.HELD_OUT` (never drawn without it).
        unnamed: share of things in a tone without a name (`vocabulary.UNNAMED`); their colour in
            the truth is None. For training only.
    """
    rng = np.random.default_rng([seed, index])
    kinds = tuple(SCENES)
    kind = kinds[int(rng.integers(len(kinds)))]
    ground = make_ground(kind, rng, size)
    placed = sample(kind, ground, rng, held_out, unnamed)
    sprites = [_scaled(p) for p in placed]
    items, shown = _visible(placed, sprites, size)
    return _assemble((seed, index, kind), _compose(ground, items), ground, items, shown)


def _scaled(item: Placed) -> Image.Image:
    """The sprite of a placed thing at its size and direction."""
    source = sprite(item.name, item.color, item.shade)
    picture = source.resize((item.width, item.height), Image.Resampling.BILINEAR).convert("RGBA")
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if item.flip else picture


def _solid(picture: Image.Image) -> Mask:
    return np.asarray(picture.getchannel("A")) >= 128


def _window(item: Placed, size: int) -> tuple[int, int, int, int]:
    """The part of a thing's sprite box inside the picture, xyxy."""
    x1, y1 = min(size, item.left + item.width), min(size, item.top + item.height)
    return max(0, item.left), max(0, item.top), x1, y1


def _paint(masks: list[Mask], placed: list[Placed], size: int) -> npt.NDArray[np.int16]:
    """Map of the nearest thing at every pixel (index into `placed`, -1 = none)."""
    layer = np.full((size, size), -1, np.int16)
    for index, (item, mask) in enumerate(zip(placed, masks, strict=True)):
        x0, y0, x1, y1 = _window(item, size)
        inside = mask[y0 - item.top : y1 - item.top, x0 - item.left : x1 - item.left]
        layer[y0:y1, x0:x1][inside] = index
    return layer


def _tight_box(mask: Mask, left: int = 0, top: int = 0) -> tuple[int, int, int, int]:
    """Half-open box xyxy of the true pixels (there must be some), moved by (left, top)."""
    rows, columns = np.any(mask, axis=1), np.any(mask, axis=0)
    y0, x0 = int(rows.argmax()), int(columns.argmax())
    y1, x1 = len(rows) - int(rows[::-1].argmax()), len(columns) - int(columns[::-1].argmax())
    return x0 + left, y0 + top, x1 + left, y1 + top


@dataclass(frozen=True)
class _Shown:
    """What can be seen of one thing: its window in the picture, the mask inside it, its box."""

    window: tuple[int, int, int, int]
    mask: Mask
    box: tuple[int, int, int, int]
    share: float


def _look(layer: npt.NDArray[np.int16], index: int, item: Placed, mask: Mask) -> _Shown | None:
    """What the layer map shows of a thing; None where that is too little or too small."""
    size = layer.shape[0]
    x0, y0, x1, y1 = _window(item, size)
    seen = layer[y0:y1, x0:x1] == index
    share = int(np.count_nonzero(seen)) / int(np.count_nonzero(mask))
    if share < MIN_VISIBLE:
        return None
    box = _tight_box(seen, x0, y0)
    if max(box[2] - box[0], box[3] - box[1]) < MIN_SIDE * size:
        return None
    return _Shown((x0, y0, x1, y1), seen, box, share)


def _visible(
    placed: list[Placed], sprites: list[Image.Image], size: int
) -> tuple[list[tuple[Placed, Image.Image]], list[_Shown]]:
    """Leave out what would be hidden or small, farthest first, until all that is left shows."""
    masks = [_solid(s) for s in sprites]
    while True:
        layer = _paint(masks, placed, size)
        shown: list[_Shown] = []
        for index, (item, mask) in enumerate(zip(placed, masks, strict=True)):
            look = _look(layer, index, item, mask)
            if look is None:
                break
            shown.append(look)
        if len(shown) == len(placed):
            return list(zip(placed, sprites, strict=True)), shown
        for items in (placed, sprites, masks):
            del items[len(shown)]


@lru_cache(maxsize=1)
def _shadow_mask() -> Image.Image:
    """A soft-edged ellipse."""
    y, x = np.mgrid[-1:1:24j, -1:1:96j]
    strength = np.clip((1.0 - np.hypot(x, y)) * 3, 0, 1) * _SHADOW_STRENGTH
    return Image.fromarray(strength.astype(np.uint8))


def _compose(ground: Ground, items: list[tuple[Placed, Image.Image]]) -> Image.Image:
    """Shadows on the ground, then the sprites from far to near."""
    image = Image.fromarray(ground.image)
    for item, _ in items:
        if item.on_ground:
            height = max(4, round(item.width * 0.16))
            shadow = _shadow_mask().resize((round(item.width * 1.06), height))
            x = item.left - round(item.width * 0.03)
            y = item.top + item.height - round(height * 0.6)
            image.paste(_SHADOW, (x, y, x + shadow.width, y + height), shadow)
    for item, picture in items:
        image.paste(picture, (item.left, item.top), picture)
    return image


def _assemble(
    name: tuple[int, int, str],
    image: Image.Image,
    ground: Ground,
    items: list[tuple[Placed, Image.Image]],
    shown: list[_Shown],
) -> Scene:
    """Number the objects (things nearest first, then stuff from the top) and collect the truth."""
    depth = depth_map(ground)
    ids = ground.stuff + np.int16(len(items))
    objects: list[SceneObject] = []
    for (item, _), look in zip(reversed(items), reversed(shown), strict=True):
        x0, y0, x1, y1 = look.window
        ids[y0:y1, x0:x1][look.mask] = len(objects)
        depth[y0:y1, x0:x1][look.mask] = np.float32(item.depth)
        box = (float(look.box[0]), float(look.box[1]), float(look.box[2]), float(look.box[3]))
        near = float(np.float32(item.depth))
        color = item.color if item.color in COLORS else None
        thing = SceneObject(len(objects), item.name, color, "thing", box, near, look.share)
        objects.append(thing)
    objects += _stuff_objects(ids, depth, ground, len(objects))
    return Scene(*name, np.array(image), ids, depth, tuple(objects))


def _stuff_objects(
    ids: npt.NDArray[np.int16], depth: npt.NDArray[np.float32], ground: Ground, first: int
) -> list[SceneObject]:
    """Describe the stuff regions and renumber `ids` in place where one is wholly hidden."""
    found: list[SceneObject] = []
    for index, (name, _, _) in enumerate(ground.bands):
        start, end = ground.rows[index]
        part = ids[start:end]
        mask = part == first + index
        area = int(np.count_nonzero(mask))
        if not area:
            continue
        number = first + len(found)
        if number != first + index:
            part[mask] = number
        x0, y0, x1, y1 = _tight_box(mask, 0, start)
        share = area / int(np.count_nonzero(ground.stuff[start:end] == index))
        box = (float(x0), float(y0), float(x1), float(y1))
        middle = float(np.median(depth[start:end][mask]))
        found.append(SceneObject(number, name, None, "stuff", box, middle, share))
    return found
