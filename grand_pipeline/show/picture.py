"""The image with its objects: translucent masks, outlines, boxes, labels."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from grand_pipeline.columns import Annotation, PublishedObject
from grand_pipeline.geometry import rle_decode
from grand_pipeline.show import chips
from grand_pipeline.show.style import Rgb, brief, color_of

SMALLEST, LARGEST = 768, 1280
"""Limits of the longer side of a drawn picture, in pixels."""

# Thin enough that the colours of the things themselves can still be judged.
_FILL = {"thing": 0.24, "stuff": 0.13}
_FLOATING_FILL = 0.14
_DASH = 9


def scale_for(size: tuple[int, int]) -> float:
    """Factor that brings the longer side between the limits."""
    longer = max(size)
    return max(SMALLEST / longer, 1.0) if longer < LARGEST else LARGEST / longer


def draw_objects(annotation: Annotation, image: Image.Image) -> Image.Image:
    """The image at a readable scale with all objects drawn in; stuff lies below things."""
    scale = scale_for(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    picture = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    stuff = [o for o in annotation.objects if o.kind == "stuff"]
    things = sorted((o for o in annotation.objects if o.kind != "stuff"), key=_far_first)
    for thing in (*stuff, *things):
        _paint_mask(picture, thing)
    pen = ImageDraw.Draw(picture)
    for thing in things:
        _frame(pen, _scaled(thing, scale), color_of(thing.id), dashed=thing.status == "floating")
    text_size = max(14, round(min(size) / 48))
    plates = [_chip(o, scale) for o in (*things, *stuff)]
    for plate, place in zip(plates, chips.place(plates, size, text_size), strict=True):
        chips.draw(pen, plate, place, text_size)
    return picture


def label_text(thing: PublishedObject) -> str:
    """What a label says: id, first attribute, class, score."""
    attribute = thing.attributes[0].text if thing.attributes else ""
    short = attribute if len(attribute) <= 16 else ""
    score = "" if thing.score is None or thing.kind == "stuff" else f"{thing.score:.2f}"
    return " ".join(part for part in (f"[{thing.id}]", short, brief(thing.label), score) if part)


def _far_first(thing: PublishedObject) -> float:
    return thing.depth if thing.depth is not None else math.inf


def _scaled(thing: PublishedObject, scale: float) -> chips.Rect:
    x1, y1, x2, y2 = (value * scale for value in thing.box)
    return x1, y1, x2, y2


def _chip(thing: PublishedObject, scale: float) -> chips.Chip:
    stuff = thing.kind == "stuff"
    hollow = stuff or thing.status == "floating"
    return chips.Chip(
        label_text(thing), color_of(thing.id), _scaled(thing, scale), hollow, centered=stuff
    )


def _paint_mask(picture: Image.Image, thing: PublishedObject) -> None:
    """Blend the mask's colour in and draw its outline; works on the mask's window only."""
    if thing.mask is None:
        return
    mask = rle_decode(thing.mask)
    rows, columns = np.any(mask, axis=1).nonzero()[0], np.any(mask, axis=0).nonzero()[0]
    if not len(rows):
        return
    scale_x, scale_y = picture.width / mask.shape[1], picture.height / mask.shape[0]
    y1, y2 = max(0, rows[0] - 2), min(mask.shape[0], rows[-1] + 3)
    x1, x2 = max(0, columns[0] - 2), min(mask.shape[1], columns[-1] + 3)
    left, top = round(x1 * scale_x), round(y1 * scale_y)
    size = (max(1, round(x2 * scale_x) - left), max(1, round(y2 * scale_y) - top))
    window = Image.fromarray(mask[y1:y2, x1:x2].astype(np.uint8) * 255)
    soft = window.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1.5))
    solid = soft.point([0 if value < 128 else 255 for value in range(256)])
    strength = _FILL["stuff" if thing.kind == "stuff" else "thing"]
    if thing.status == "floating":
        strength = min(strength, _FLOATING_FILL)
    color = color_of(thing.id)
    fill = solid.filter(ImageFilter.GaussianBlur(0.7)).point(
        [round(v * strength) for v in range(256)]
    )
    picture.paste(color, (left, top), fill)
    if thing.kind != "stuff":
        _outline(picture, solid, (left, top), color)


def _outline(picture: Image.Image, solid: Image.Image, at: tuple[int, int], color: Rgb) -> None:
    """A white hair line outside, the colour inside: legible on any ground."""
    wide, inner = solid.filter(ImageFilter.MaxFilter(5)), solid.filter(ImageFilter.MinFilter(5))
    for outer, hole, ink, strength in (
        (wide, solid, (255, 255, 255), 0.75),
        (solid, inner, color, 1),
    ):
        ring = np.asarray(outer, np.int16) - np.asarray(hole, np.int16)
        band = Image.fromarray(ring.clip(0, 255).astype(np.uint8))
        band = band.filter(ImageFilter.GaussianBlur(0.6))
        picture.paste(ink, at, band.point([round(v * strength) for v in range(256)]))


def _frame(pen: ImageDraw.ImageDraw, box: chips.Rect, color: Rgb, *, dashed: bool) -> None:
    """A box with a white seam; dashed for floating objects."""
    x1, y1, x2, y2 = box
    x2, y2 = max(x2 - 1, x1 + 1), max(y2 - 1, y1 + 1)
    if not dashed:
        pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(255, 255, 255), width=1)
        pen.rectangle((x1, y1, x2, y2), outline=color, width=2)
        return
    corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1))
    for (ax, ay), (bx, by) in pairwise(corners):
        steps = max(1, round(math.hypot(bx - ax, by - ay) / _DASH))
        for step in range(steps):
            a, b = step / steps, (step + 1) / steps
            ink = color if step % 2 == 0 else (255, 255, 255)
            line = (ax + (bx - ax) * a, ay + (by - ay) * a, ax + (bx - ax) * b, ay + (by - ay) * b)
            pen.line(line, fill=ink, width=2)
