"""Scores of a depth model on unseen scenes: order of object pairs, delta1, L1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene
from training.recipes.picturebook.scenes import EVAL_SEED, HALF, SIDE, eval_scenes, pixels

if TYPE_CHECKING:
    from transformers import DPTForDepthEstimation


@cache
def _mean_map(count: int) -> npt.NDArray[np.float32]:
    maps = [render(EVAL_SEED + 9, i).depth for i in range(count)]
    return np.asarray(np.mean(maps, axis=0), np.float32)


def pair_order(maps: Sequence[npt.NDArray[np.float32]], scenes: Sequence[Scene]) -> float:
    """Fraction of thing pairs (true depths apart by > 0.02) whose medians are in true order."""
    right: list[bool] = []
    for depth, scene in zip(maps, scenes, strict=True):
        medians = {o.id: float(np.median(depth[scene.ids == o.id])) for o in scene.things}
        for a, b in combinations(scene.things, 2):
            if abs(a.depth - b.depth) > 0.02:
                right.append((medians[a.id] > medians[b.id]) == (a.depth > b.depth))
    return float(np.mean(right))


@torch.no_grad()
def depth_scores(model: DPTForDepthEstimation, count: int) -> dict[str, float]:
    """Pair order of things (and of the mean map), delta1 and L1 on unseen scenes."""
    scenes = eval_scenes(count)
    maps: list[npt.NDArray[np.float32]] = []
    for scene in scenes:
        seen = pixels([scene.image], model.config.image_size, mean=HALF, std=HALF)
        found = model(pixel_values=seen).predicted_depth[:, None]
        maps.append(F.interpolate(found, (SIDE, SIDE), mode="bicubic")[0, 0].numpy())
    floor = 1e-3
    ratios = [
        np.maximum(m, floor) / np.maximum(s.depth, floor) for m, s in zip(maps, scenes, strict=True)
    ]
    near = [np.maximum(r, 1 / r) < 1.25 for r in ratios]
    return {
        "pair_order": pair_order(maps, scenes),
        "pair_order_mean_map": pair_order([_mean_map(count)] * count, scenes),
        "delta1": float(np.mean(near)),
        "l1": float(
            np.mean([np.abs(m - s.depth).mean() for m, s in zip(maps, scenes, strict=True)])
        ),
    }
