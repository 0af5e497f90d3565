"""What becomes of groups: pixels are theirs, and classes are given to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from grand_pipeline.types import FloatArray
from training.data import transforms
from training.metrics.segmentation import LabelMap
from training.models.groupvit.batches import MEAN, STD, tokens
from training.models.groupvit.export import Trained

CANDIDATES = 5
"""Classes that an image is thought to have; its groups are given no other."""


@dataclass(frozen=True)
class Shown:
    """A picture as a model sees it.

    `feature` (P,) and `groups` (G, P) are unit vectors of the image and of its last groups;
    `assignments` (G, N) the soft ones of every stage, of the patches on the `grid` (h, w) first;
    `attention` (heads, h, w) of the class token of a plain ViT, which has no groups.
    """

    feature: Tensor
    groups: Tensor
    assignments: tuple[Tensor, ...]
    grid: tuple[int, int]
    attention: Tensor | None


@torch.no_grad()
def look(trained: Trained, image: Image.Image) -> Shown:
    """Look at an RGB image, its shorter side at the pixels that the model is asked with."""
    patch, model = trained.model.sizes.patch_size, trained.model
    factor = trained.reading.side / min(image.size)
    width, height = (max(1, round(side * factor / patch)) * patch for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(transforms.normalize(np.asarray(small), MEAN, STD))[None]
    seen = model.vision(pixels.to(trained.device))
    grid = (height // patch, width // patch)
    attention = None
    if model.vision.class_token is not None:
        looks = model.vision.class_attention(pixels.to(trained.device))
        attention = looks[0].reshape(-1, *grid)
    return Shown(
        model.project_images(seen.features)[0],
        model.project_images(seen.segments[0]),
        tuple(one[0] for one in seen.assignments),
        grid,
        attention,
    )


def composed(assignments: Sequence[Tensor], *, hard: bool = False) -> list[Tensor]:
    """To which groups of every stage the patches belong: (G, T) each.

    `assignments` (G, N) go from stage to stage. Columns sum to 1. With `hard` every
    segment belongs to its largest group alone.
    """
    found: list[Tensor] = []
    for soft in assignments:
        whole = torch.zeros_like(soft).scatter_(0, soft.argmax(0, keepdim=True), 1.0)
        one = whole if hard else soft
        found.append(one @ found[-1] if found else one)
    return found


def stages(shown: Shown, size: tuple[int, int], *, hard: bool = False) -> list[LabelMap]:
    """The group of every pixel (H, W) of `size`, for every stage."""
    maps = composed(shown.assignments, hard=hard)
    return [pixels(one.reshape(-1, *shown.grid), size) for one in maps]


def pixels(shares: Tensor, size: tuple[int, int]) -> LabelMap:
    """The group of every pixel (H, W) of `size`: shares (G, h, w), bilinear, the largest."""
    large = F.interpolate(shares[None].float(), size, mode="bilinear", align_corners=False)[0]
    return np.asarray(large.argmax(0).cpu().numpy(), np.int64)


@torch.no_grad()
def embedded(trained: Trained, names: Sequence[str]) -> Tensor:
    """Unit vectors (C, P) of classes: the mean over all prompts, none for no names."""
    if not names:
        return torch.zeros(0, trained.model.sizes.projection)
    prompts = trained.reading.prompts
    asked = [prompt.replace("{}", name) for name in names for prompt in prompts]
    said = encoded(trained, asked).reshape(len(names), len(prompts), -1)
    return F.normalize(said.mean(1), dim=-1)


@torch.no_grad()
def encoded(trained: Trained, texts: Sequence[str]) -> Tensor:
    """Unit vectors (R, P) of texts."""
    made = [tokens(trained.tokenizer, text, trained.model.sizes.tokens) for text in texts]
    table = torch.zeros(len(made), max(map(len, made)), dtype=torch.int64)
    mask = torch.zeros_like(table)
    for place, one in enumerate(made):
        table[place, : len(one)], mask[place, : len(one)] = torch.from_numpy(one), 1
    model = trained.model
    return model.project_texts(model.text(table.to(trained.device), mask.to(trained.device)))


def named(shown: Shown, classes: Tensor, scale: Tensor) -> FloatArray:
    """How much each group (G) is of each class (C): (G, C).

    The softmax over the classes that the whole image is most like, times that over all of them.
    """
    whole = shown.feature @ classes.T
    best = whole.topk(min(CANDIDATES, len(classes))).indices
    logits = shown.groups @ classes.T * scale
    barred = torch.full_like(logits, -torch.inf)
    barred[:, best] = logits[:, best]
    found = barred.softmax(1) * logits.softmax(1)
    return np.asarray(found.cpu().numpy(), np.float32)


def labels_of(groups: LabelMap, scores: FloatArray, background: float) -> LabelMap:
    """The class of every pixel: that of its group (H, W), of scores (G, C).

    A group whose best class has less than `background` has none (-1); where all groups of the
    picture have less, the best of them keeps its class.
    """
    best: NDArray[np.float32] = scores.max(1)
    least = min(background, float(best[np.unique(groups)].max()))
    called = np.where(best >= least, scores.argmax(1), -1)
    return np.asarray(called[groups], np.int64)
