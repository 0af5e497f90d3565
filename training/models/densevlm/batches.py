"""What DenseVLM is shown: pictures with regions, drawn on a grid or taken from the run's boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from grand_pipeline import geometry
from grand_pipeline.types import FloatArray
from training.data import transforms
from training.data.frame import Pixels
from training.data.rows import Row
from training.models.densevlm.network import Batch
from training.models.densevlm.regions import grid_boxes

Source = Literal["grid", "proposals"]


@dataclass(frozen=True)
class View:
    """How pictures are shown: `side` pixels of the square that they are fitted into; where regions
    come from, and how many of a picture at most; `split`, the finest grid; `crop`, pixels of the
    squares that regions are shown as to a teacher of crops, 0 where there is none."""

    side: int = 512
    source: Source = "grid"
    limit: int = 36
    split: int = 6
    crop: int = 0


@dataclass(frozen=True)
class Sample:
    """A picture (3, S, S), its regions (n, 4) xyxy in fractions, n >= 1, and their crops."""

    image_id: str
    pixels: Pixels
    boxes: FloatArray
    crops: NDArray[np.uint8]


def sample(row: Row, rng: Generator, *, view: View) -> Sample | None:
    """A row as a sample; None for one without a box where boxes are wanted."""
    shown, size = fitted(row, view.side)
    if view.source == "grid":
        height, width = size
        boxes = grid_boxes(rng, view.split, view.limit) * np.array([width, height] * 2, np.float32)
    else:
        found = shown.boxes
        boxes = found[np.sort(rng.permutation(len(found))[: view.limit])]
    if not len(boxes):
        return None
    pixels = shown.pixels()
    crops = _crops(pixels, boxes, view.crop) if view.crop else np.zeros((0, 3, 1, 1), np.uint8)
    return Sample(row.image_id, _planes(pixels), geometry.as_boxes(boxes / view.side), crops)


def fitted(row: Row, side: int) -> tuple[Row, tuple[int, int]]:
    """The row in a square of `side` pixels, with a border at the right or bottom, and the
    (height, width) of the picture in it."""
    shown = transforms.resize_longest(row, side)
    return transforms.pad(shown, (side, side)), shown.size


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch; pictures with fewer regions than others are filled up."""
    most = max(len(one.boxes) for one in samples)
    boxes = np.zeros((len(samples), most, 4), np.float32)
    known = np.zeros((len(samples), most), bool)
    for place, one in enumerate(samples):
        boxes[place, : len(one.boxes)] = one.boxes
        known[place, : len(one.boxes)] = True
    return Batch(
        pixels=torch.from_numpy(np.stack([one.pixels for one in samples])),
        boxes=torch.from_numpy(boxes),
        known=torch.from_numpy(known),
        crops=torch.from_numpy(np.concatenate([one.crops for one in samples])),
        ids=tuple(one.image_id for one in samples),
    )


def pictures(rows: Sequence[Row], side: int) -> torch.Tensor:
    """Pictures (n, 3, side, side) uint8 of rows, as a trained model is shown them."""
    return torch.from_numpy(np.stack([_planes(fitted(row, side)[0].pixels()) for row in rows]))


def _crops(pixels: Pixels, boxes: FloatArray, side: int) -> NDArray[np.uint8]:
    """Squares (n, 3, side, side) of boxes in pixels; each is stretched."""
    picture = Image.fromarray(pixels)
    size = (side, side)
    cut = [picture.resize(size, Image.Resampling.BICUBIC, tuple(box)) for box in boxes.tolist()]
    return np.stack([_planes(np.asarray(one)) for one in cut])


def _planes(pixels: Pixels) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
