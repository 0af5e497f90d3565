"""Scenes as training material: the seeds, pixel tensors, recent scenes, boxes as detectors err."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene, SceneObject

# Every recipe draws from the first series alone and scores on the second alone.
TRAIN_SEED, EVAL_SEED = 1_000, 2_000
UNNAMED = 0.25  # share of things in a tone without a name: what parts shape from colour
SIDE = 256  # of rendered scenes, in pixels
HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Rgb = npt.NDArray[np.uint8]


def pixels(
    images: Sequence[Rgb] | Rgb,
    size: int,
    *,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> Tensor:
    """Squash RGB arrays (H, W, 3) to (N, 3, size, size) floats, as the image processors do."""
    small = [np.asarray(Image.fromarray(i).resize((size, size), resample)) for i in images]
    stack = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255.0
    return (stack - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@cache
def eval_scenes(count: int, *, held_out: bool = False) -> tuple[Scene, ...]:
    """Scenes of a series that no training run draws from."""
    return tuple(render(EVAL_SEED, i, held_out=held_out) for i in range(count))


@lru_cache(maxsize=3000)
def _recent(seed: int, index: int) -> Scene:
    return render(seed, index, unnamed=UNNAMED)


def draw_scenes(count: int, step: int, rng: np.random.Generator, fresh: float) -> list[Scene]:
    """`count` training scenes: a share of new ones, named by the step, the rest recent ones.

    Rendering is the bottleneck of models that see small crops; another crop or another caption
    of a recent scene is nearly as good as a new scene.
    """
    new = max(1, round(count * fresh))
    first = step * new
    indices = list(range(first, first + new))
    low = max(0, first + new - 2500)
    indices += [int(i) for i in rng.integers(low, first + new, count - new)]
    return [_recent(TRAIN_SEED, i) for i in indices]


def jittered(
    obj: SceneObject, spread: float, rng: np.random.Generator, size: int = SIDE
) -> tuple[float, float, float, float]:
    """The box of an object as a detector would err: every edge moved by N(0, spread * side)."""
    x0, y0, x1, y1 = obj.box
    dx, dy = spread * (x1 - x0), spread * (y1 - y0)
    a, b, c, d = rng.normal(size=4)
    left, right = np.clip((x0 + a * dx, x1 + b * dx), 0, size)
    top, bottom = np.clip((y0 + c * dy, y1 + d * dy), 0, size)
    if right - left < 4 or bottom - top < 4:
        return obj.box
    return float(left), float(top), float(right), float(bottom)
