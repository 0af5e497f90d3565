"""Prompts and targets of the mask recipe: what one batch of rendered scenes asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene, SceneObject
from grand_pipeline.picturebook.vocabulary import COLORS, STUFF, THINGS
from training.recipes.picturebook.scenes import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SIDE,
    TRAIN_SEED,
    jittered,
    pixels,
)

SIZE, GRID, MASK, SCENE = 160, 20, 80, SIDE  # sides: model input, cells, masks, rendered scenes
BOXES, POINTS = 5, 3  # prompts per picture
BILINEAR = Image.Resampling.BILINEAR  # what the image processor of SAM does
CLASSES = {name: i for i, name in enumerate((*THINGS, *STUFF))}
HUES = {name: i for i, name in enumerate(COLORS)}


@dataclass(frozen=True)
class Batch:
    """Pixels (B, 3, S, S), prompts in S units, soft masks (B, P, M, M), and per-cell truth."""

    pixels: Tensor
    boxes: Tensor
    points: Tensor
    masks: Tensor
    windows: Tensor
    cells: Tensor  # (B, G, G, 2): class and colour index, colour -1 for stuff
    cell_boxes: Tensor  # (B, G, G, 4), fractions of the picture
    fine: Tensor  # (B, 3, M, M): thing, same object as right neighbour, as lower neighbour
    strength: float


def make_batch(step: int, size: int, total: int) -> Batch:
    """Render `size` new scenes and draw prompts for each; `total` is the budget of steps."""
    rng = np.random.default_rng([TRAIN_SEED, 11, step])
    scenes = [render(TRAIN_SEED, step * size + i) for i in range(size)]
    parts = [_targets(scene, rng) for scene in scenes]
    images = [s.image for s in scenes]
    boxes, points, masks, windows, cells, cell_boxes, fine = (
        torch.stack(part) for part in zip(*parts, strict=True)
    )
    return Batch(
        pixels=pixels(images, SIZE, resample=BILINEAR, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        boxes=boxes,
        points=points,
        masks=masks,
        windows=windows,
        cells=cells,
        cell_boxes=cell_boxes,
        fine=fine,
        strength=max(0.1, 1.0 - 0.8 * step / total),
    )


def _draw(scene: Scene, count: int, rng: np.random.Generator) -> list[SceneObject]:
    """Mostly things; a fifth stuff."""
    stuff = [o for o in scene.objects if o.kind == "stuff"]
    things = list(scene.things) or stuff
    order = [things[int(i)] for i in rng.permutation(len(things))]
    picked = [order[i % len(order)] for i in range(count)]
    return [
        stuff[int(rng.integers(len(stuff)))] if stuff and rng.random() < 0.2 else obj
        for obj in picked
    ]


def _targets(scene: Scene, rng: np.random.Generator) -> tuple[Tensor, ...]:
    chosen = _draw(scene, BOXES + POINTS, rng)
    scale = SIZE / SCENE
    spreads = rng.choice([0.0, 0.04, 0.09], BOXES)
    boxes = [jittered(o, float(s), rng) for o, s in zip(chosen, spreads, strict=False)]
    points = [_point(scene, o, rng) for o in chosen[BOXES:]]
    hard = np.stack([scene.ids == o.id for o in chosen]).astype(np.float32)
    soft = F.interpolate(torch.from_numpy(hard)[None], size=(MASK, MASK), mode="area")[0]
    windows = torch.stack([_window(o) for o in chosen])
    return (
        torch.tensor(boxes) * scale,
        torch.tensor(points)[:, None] * scale,
        soft,
        windows,
        *_cell_truth(scene),
    )


def _point(scene: Scene, obj: SceneObject, rng: np.random.Generator) -> tuple[float, float]:
    ys, xs = np.nonzero(scene.ids == obj.id)
    at = int(rng.integers(len(ys)))
    return float(xs[at]), float(ys[at])


def _window(obj: SceneObject) -> Tensor:
    """The box and a fifth of its sides around it, as 0/1 on the mask grid."""
    x0, y0, x1, y1 = (v * MASK / SCENE for v in obj.box)
    mx, my = 0.2 * (x1 - x0) + 1, 0.2 * (y1 - y0) + 1
    window = torch.zeros(MASK, MASK)
    window[max(0, int(y0 - my)) : int(y1 + my) + 1, max(0, int(x0 - mx)) : int(x1 + mx) + 1] = 1
    return window


def _cell_truth(scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
    count = len(scene.objects)
    names, hues = np.zeros(count, np.int64), np.zeros(count, np.int64)
    boxes = np.zeros((count, 4), np.float32)
    for o in scene.objects:
        names[o.id], hues[o.id] = CLASSES[o.name], HUES.get(o.color or "", -1)
        boxes[o.id] = np.array(o.box) / SCENE
    middle = ((np.arange(GRID) + 0.5) * SCENE / GRID).astype(int)
    ids = scene.ids[np.ix_(middle, middle)]
    cells = torch.from_numpy(np.stack([names[ids], hues[ids]], axis=-1))
    fine_at = ((np.arange(MASK) + 0.5) * SCENE / MASK).astype(int)
    fine = scene.ids[np.ix_(fine_at, fine_at)]
    right, below = np.ones((MASK, MASK), bool), np.ones((MASK, MASK), bool)
    right[:, :-1] = fine[:, 1:] == fine[:, :-1]
    below[:-1] = fine[1:] == fine[:-1]
    planes = np.stack([names[fine] < len(THINGS), right, below]).astype(np.float32)
    return cells, torch.from_numpy(boxes[ids]), torch.from_numpy(planes)
