"""Scenes as arrays on disk, rendered once and read in a shuffled order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene
from training.recipes.picturebook.scenes import SIDE, TRAIN_SEED, UNNAMED
from training.recipes.picturebook.text import COLOR_NAMES, NAMES

SLOTS = 16  # most objects (things and stuff) of a scene


@dataclass(frozen=True)
class Arrays:
    """A batch of B scenes as arrays; object slots without an object have class -1.

    images (B, 256, 256, 3) uint8; ids (B, 256, 256) uint8, index of the visible object's slot;
    depth (B, 256, 256) float16; classes, colors (B, SLOTS) int64; boxes (B, SLOTS, 4) float32
    xyxy pixels.
    """

    images: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.float16]
    classes: npt.NDArray[np.int64]
    colors: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]


def scene_arrays(scene: Scene) -> dict[str, npt.NDArray[Any]]:
    """One scene in the layout of `Arrays`, without the batch axis."""
    classes = np.full(SLOTS, -1, np.int64)
    colors = np.full(SLOTS, -1, np.int64)
    boxes = np.zeros((SLOTS, 4), np.float32)
    for slot, item in enumerate(scene.objects[:SLOTS]):
        classes[slot] = NAMES.index(item.name)
        colors[slot] = -1 if item.color is None else COLOR_NAMES.index(item.color)
        boxes[slot] = item.box
    slots = np.full(int(scene.ids.max()) + 2, 255, np.uint8)
    for slot, item in enumerate(scene.objects[:SLOTS]):
        slots[item.id] = slot
    return {
        "images": scene.image,
        "ids": slots[scene.ids],
        "depth": scene.depth.astype(np.float16),
        "classes": classes,
        "colors": colors,
        "boxes": boxes,
    }


class Pool:
    """`count` rendered scenes of one seed, kept in files that several runs may share.

    A scene is rendered when it is first asked for. The files are sparse arrays; a flag per
    scene says that it is there.
    """

    def __init__(self, folder: Path, count: int, *, seed: int = TRAIN_SEED) -> None:
        self.count, self.seed = count, seed
        folder.mkdir(parents=True, exist_ok=True)
        shapes: dict[str, tuple[tuple[int, ...], type]] = {
            "images": ((SIDE, SIDE, 3), np.uint8),
            "ids": ((SIDE, SIDE), np.uint8),
            "depth": ((SIDE, SIDE), np.float16),
            "classes": ((SLOTS,), np.int64),
            "colors": ((SLOTS,), np.int64),
            "boxes": ((SLOTS, 4), np.float32),
        }
        self.arrays: dict[str, np.memmap[Any, Any]] = {
            name: _open(folder / f"{seed}-{count}-{name}.raw", (count, *shape), kind)
            for name, (shape, kind) in shapes.items()
        }
        self.done = _open(folder / f"{seed}-{count}-done.raw", (count,), np.uint8)

    def take(self, indices: Sequence[int]) -> Arrays:
        """The scenes at `indices` (modulo the count)."""
        where = [index % self.count for index in indices]
        for index in where:
            if not self.done[index]:
                for name, value in scene_arrays(render(self.seed, index, unnamed=UNNAMED)).items():
                    self.arrays[name][index] = value
                self.done[index] = 1
        return Arrays(**{name: np.stack([a[i] for i in where]) for name, a in self.arrays.items()})


def _open(path: Path, shape: tuple[int, ...], kind: type) -> np.memmap[Any, Any]:
    if not path.exists():
        with path.open("ab") as file:
            file.truncate(int(np.prod(shape)) * np.dtype(kind).itemsize)
    return np.memmap(path, kind, "r+", shape=shape)


def order(step: int, batch_size: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of the scenes of a step: epochs of a pool in a shuffled order, deterministic."""
    first = step * batch_size
    indices: list[int] = []
    for position in range(first, first + batch_size):
        epoch, place = divmod(position, count)
        indices.append(int(_permutation(seed, epoch, count)[place]))
    return np.array(indices)


_permutations: dict[tuple[int, int, int], npt.NDArray[np.int64]] = {}


def _permutation(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    key = (seed, epoch, count)
    if key not in _permutations:
        _permutations.clear()
        _permutations[key] = np.random.default_rng(key).permutation(count)
    return _permutations[key]
