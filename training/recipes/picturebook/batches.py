"""Batches of the detectors: augmented pictures, queries and the truth of every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from grand_pipeline import geometry
from grand_pipeline.picturebook.vocabulary import HYPERNYMS, THINGS
from training.recipes.picturebook import scenes
from training.recipes.picturebook.pool import SLOTS, Arrays
from training.recipes.picturebook.scenes import SIDE
from training.recipes.picturebook.text import (
    COLOR_NAMES,
    MAX_LENGTH,
    NAMES,
    Phrase,
    build_tokenizer,
    matches,
    phrase,
    phrases_for,
    random_phrase,
)

NEGATIVES = 24  # random phrases beside those that the pictures of a batch answer
QUERIES = 96  # most queries of a batch


@dataclass(frozen=True)
class View:
    """How a detector sees a scene: input side and patch in pixels, and the augmentation."""

    size: int = 256
    patch: int = 16
    jitter: float = 0.0  # strength of brightness and colour changes
    zoom: float = 0.0  # probability of a crop, enlarged to the full side


@dataclass(frozen=True)
class Batch:
    """Pixels (B, 3, S, S); tokens (U, L); per token its score, object slot, box and patch truth."""

    pixels: Tensor
    tokens: Tensor
    matched: Tensor  # (B, SLOTS, U) whether an object answers a phrase
    weight: Tensor  # (B, T) target score of the token's object
    owner: Tensor  # (B, T) slot of the token's object
    boxes: Tensor  # (B, SLOTS, 4) cxcywh, fractions of the side
    classes: Tensor  # (B, SLOTS)
    colors: Tensor  # (B, SLOTS)


@cache
def _token_ids(text: str) -> tuple[int, ...]:
    return tuple(build_tokenizer()(text)["input_ids"])


def tokenize(phrases: Sequence[Phrase]) -> Tensor:
    """Token ids (U, L) padded with 0 to the longest phrase."""
    rows = [_token_ids(p.text)[:MAX_LENGTH] for p in phrases]
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


def assign(ids: Tensor, boxes: Tensor, stuff: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Target score and object slot of every token.

    A token's claim to an object is the visible share of its patch times exp(-k d^2), where d is
    the distance to the middle of the box in half sides; the best token of an object scores 1.
    Stuff is wide, so k is larger for it (8 instead of 2) and its answers stay few.

    Args:
        ids: (B, 4 * grid, 4 * grid) object slots at 16 points of every patch.
        boxes: (B, SLOTS, 4) cxcywh, fractions of the side.
        stuff: (B, SLOTS) which objects are stuff.
        grid: tokens per side.

    Returns:
        Two tensors (B, grid * grid).
    """
    shown = (ids[:, None] == torch.arange(SLOTS)[None, :, None, None]).float()
    share = F.avg_pool2d(shown, 4).flatten(2)  # (B, SLOTS, T)
    middle = (torch.arange(grid) + 0.5) / grid
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    half = boxes[..., 2:].clamp(min=1e-3) / 2
    dx = (x.flatten() - boxes[..., :1]) / half[..., :1]
    dy = (y.flatten() - boxes[..., 1:2]) / half[..., 1:]
    claim = share * torch.exp((-2.0 - 6.0 * stuff[..., None]) * (dx**2 + dy**2))
    claim = claim / claim.amax(-1, keepdim=True).clamp(min=1e-4)
    weight, owner = claim.max(1)
    return weight, owner


def make_batch(data: Arrays, view: View, rng: np.random.Generator) -> Batch:
    """Augment, choose the queries and assign tokens."""
    data = augment(data, view, rng)
    grid = view.size // view.patch
    boxes = torch.from_numpy(data.boxes) / SIDE
    boxes = torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)
    points = (np.arange(4 * grid) * SIDE + SIDE // 2) // (4 * grid)
    classes = torch.from_numpy(data.classes)
    stuff = classes >= len(THINGS)
    shown = torch.from_numpy(data.ids[:, points][:, :, points])
    weight, owner = assign(shown, boxes, stuff, grid)
    weight = weight * (classes.gather(1, owner) >= 0)
    phrases = choose_phrases(data, rng)
    matched = torch.from_numpy(matches(phrases, data.classes, data.colors))
    pixels = scenes.pixels(data.images, view.size)
    if view.jitter:
        pixels = _jitter(pixels, view.jitter, rng)
    colors = torch.from_numpy(data.colors)
    return Batch(pixels, tokenize(phrases), matched, weight, owner, boxes, classes, colors)


def choose_phrases(data: Arrays, rng: np.random.Generator) -> list[Phrase]:
    """Distinct queries: some that the objects answer, some random ones, every hypernym."""
    chosen: dict[str, Phrase] = {}
    for classes, colors in zip(data.classes, data.colors, strict=True):
        for name, color in zip(classes, colors, strict=True):
            if name >= 0:
                hue = COLOR_NAMES[color] if color >= 0 else None
                chosen |= {p.text: p for p in phrases_for(NAMES[name], hue, rng)}
    chosen |= {p.text: p for p in (random_phrase(rng) for _ in range(NEGATIVES))}
    phrases = list(chosen.values())
    picked = {phrases[i].text: phrases[i] for i in rng.permutation(len(phrases))[:QUERIES]}
    wide = {noun: phrase(noun, None, 0) for noun in HYPERNYMS}  # few words, many meanings
    return list((picked | wide).values())


def augment(data: Arrays, view: View, rng: np.random.Generator) -> Arrays:
    """Mirror half of the scenes; enlarge a crop of some. Box arrays are changed, not the pool."""
    images, ids = data.images, data.ids
    boxes, classes = data.boxes, data.classes
    for i in range(len(images)):
        if rng.random() < 0.5:
            images[i], ids[i] = images[i, :, ::-1].copy(), ids[i, :, ::-1].copy()
            boxes[i][:, [0, 2]] = SIDE - boxes[i][:, [2, 0]]
        if rng.random() < view.zoom:
            side = int(SIDE * rng.uniform(0.72, 0.97))
            left, top = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
            window = (left, top, left + side, top + side)
            images[i] = _enlarge(images[i], window)
            where = (np.arange(SIDE) * side) // SIDE
            ids[i] = ids[i][top + where][:, left + where]
            boxes[i], classes[i] = _crop_boxes(boxes[i], classes[i], window)
    return Arrays(images, ids, data.depth, classes, data.colors, boxes)


def _enlarge(
    image: npt.NDArray[np.uint8], window: tuple[int, int, int, int]
) -> npt.NDArray[np.uint8]:
    box = (float(window[0]), float(window[1]), float(window[2]), float(window[3]))
    picture = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(picture)


def _crop_boxes(
    boxes: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    window: tuple[int, int, int, int],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Boxes seen through the window at full side; an object cut to under 40 % is dropped."""
    left, top, right, _ = window
    scale = SIDE / (right - left)
    moved = (boxes - np.array([left, top, left, top], np.float32)) * scale
    cut = geometry.clip(moved, (SIDE, SIDE))
    kept = geometry.area(cut) >= 0.4 * geometry.area(moved)
    return cut, np.where(kept, classes, -1)


def _jitter(pixels: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Scale and shift each channel of each picture a little."""
    shape = (len(pixels), 3, 1, 1)
    gain = 1 + strength * torch.from_numpy(rng.uniform(-1, 1, (len(pixels), 1, 1, 1))).float()
    shift = strength * torch.from_numpy(rng.uniform(-1, 1, shape)).float()
    return pixels * gain + shift
