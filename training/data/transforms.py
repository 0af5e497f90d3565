"""Augmentation: of rows (what is shown, at what size, mirrored) and of pixels (colours).

Functions of a row return a row whose boxes, masks, spans and words for left and right go with its
picture. Whatever is random is drawn from the generator that is passed in, which `batches` seeds by
(seed, epoch, index), so a sample is the same in a resumed training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageOps

from grand_pipeline import geometry
from grand_pipeline.types import Box, FloatArray, Size
from training.data import sides
from training.data.frame import Frame, Pixels
from training.data.rows import Row

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def resize(row: Row, size: Size) -> Row:
    """The view stretched to `size` (height, width)."""
    return row.seen(row.frame.resized(size))


def resize_longest(row: Row, side: int) -> Row:
    """The view with its longest side at `side` pixels, its shape kept."""
    return row.seen(_scaled(row.frame, side / max(row.size)))


def resize_shortest(row: Row, side: int) -> Row:
    """The view with its shortest side at `side` pixels, its shape kept."""
    return row.seen(_scaled(row.frame, side / min(row.size)))


def pad(row: Row, size: Size) -> Row:
    """The view with border added at the right and at the bottom up to `size` (height, width).

    Raises ValueError when the view is larger.
    """
    height, width = row.size
    if size[0] < height or size[1] < width:
        raise ValueError(f"a view of {height} x {width} can not be padded to {size[0]} x {size[1]}")
    return row.seen(row.frame.cropped((0.0, 0.0, float(size[1]), float(size[0]))))


def crop(row: Row, box: Box, visible: float = 0.5) -> Row:
    """The part of the view inside `box` (xyxy pixels of the view).

    An object is kept if more than the share `visible` of its box on the image is left (X-VLM keeps
    those above one half).
    """
    return row.seen(row.frame.cropped(box), visible)


def random_resized_crop(
    row: Row,
    rng: Generator,
    size: Size,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    visible: float = 0.5,
) -> Row:
    """A random part of the view, resized: area in `scale` of the view's, width / height in `ratio`.

    Ten draws are made; if none fits into the view, the largest middle part of an allowed shape is
    taken.
    """
    height, width = row.size
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            break
    else:
        w, h = min(width, round(height * ratio[1])), min(height, round(width / ratio[0]))
        left, top = (width - w) // 2, (height - h) // 2
    box = (float(left), float(top), float(left + w), float(top + h))
    return resize(crop(row, box, visible), size)


def random_crop_around(row: Row, rng: Generator, box: Box, visible: float = 0.5) -> Row:
    """A random part of the view that contains `box` (X-VLM's crop for regions), not resized."""
    height, width = row.size
    x1, y1, x2, y2 = box
    left, top = rng.uniform(0, x1), rng.uniform(0, y1)
    right, bottom = rng.uniform(x2, width), rng.uniform(y2, height)
    outer = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    return crop(row, (float(outer[0]), float(outer[1]), float(outer[2]), float(outer[3])), visible)


def flip(row: Row) -> Row:
    """The mirror image; left and right are exchanged in all texts."""
    return row.seen(row.frame.flipped())


def random_flip(row: Row, rng: Generator, probability: float = 0.5) -> Row:
    """`flip` with a probability."""
    return flip(row) if rng.random() < probability else row


def says_side(texts: Sequence[str]) -> bool:
    """Whether any text says left or right: for recipes that rather do not mirror such a picture."""
    return any(sides.says_side(text) for text in texts)


def color_jitter(
    pixels: Pixels,
    rng: Generator,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
) -> Pixels:
    """Brightness, contrast and saturation in random order, times factors in 1 +- strength."""
    image = Image.fromarray(pixels)
    enhancers = (
        (ImageEnhance.Brightness, brightness),
        (ImageEnhance.Contrast, contrast),
        (ImageEnhance.Color, saturation),
    )
    for place in rng.permutation(len(enhancers)):
        enhancer, strength = enhancers[place]
        factor = rng.uniform(1 - strength, 1 + strength)
        image = enhancer(image).enhance(max(factor, 0.0))
    return np.asarray(image)


def random_color_ops(pixels: Pixels, rng: Generator, count: int = 2, magnitude: int = 7) -> Pixels:
    """RandAugment without its geometric operations: `count` of them, of strength 0 to 10.

    RandAugment (Cubuk et al. 2020) as X-VLM applies it to pictures with boxes.
    """
    image = Image.fromarray(pixels)
    level = magnitude / 10
    for choice in rng.integers(0, 8, count):
        sign = 1 if rng.random() < 0.5 else -1
        image = _color_op(image, int(choice), level, sign)
    return np.asarray(image)


def normalize(
    pixels: Pixels,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> FloatArray:
    """uint8 (h, w, 3) as float32 (3, h, w), each channel less its mean, over its deviation."""
    scale = np.array([1 / (255 * s) for s in std], np.float32)
    shift = np.array([m / s for m, s in zip(mean, std, strict=True)], np.float32)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32)
    planes *= scale[:, None, None]
    planes -= shift[:, None, None]
    return planes


def relative_boxes(boxes: FloatArray, size: Size) -> FloatArray:
    """Boxes (n, 4) xyxy in pixels as (n, 4) centre, width and height in shares of `size` (h, w)."""
    height, width = size
    shares = geometry.as_boxes(boxes) / np.array([width, height, width, height], np.float32)
    middle, extent = (shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]
    return np.concatenate([middle, extent], 1)


def _scaled(frame: Frame, factor: float) -> Frame:
    height, width = frame.size
    return frame.resized((max(1, round(height * factor)), max(1, round(width * factor))))


def _color_op(image: Image.Image, choice: int, level: float, sign: int) -> Image.Image:
    """One operation at `level` in [0, 1]; the first leaves the picture as it is."""
    factor = 1 + sign * 0.9 * level
    match choice:
        case 0:
            return image
        case 1:
            return ImageOps.autocontrast(image)
        case 2:
            return ImageOps.equalize(image)
        case 3:
            return ImageEnhance.Color(image).enhance(factor)
        case 4:
            return ImageEnhance.Contrast(image).enhance(factor)
        case 5:
            return ImageEnhance.Brightness(image).enhance(factor)
        case 6:
            return ImageEnhance.Sharpness(image).enhance(factor)
        case _:
            return ImageOps.posterize(image, 8 - round(4 * level))
