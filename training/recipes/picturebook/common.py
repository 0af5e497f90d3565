"""What the picture-book recipes share: cached scenes, targets, average precision, the card."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from grand_pipeline import geometry
from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene
from training.recipes.picturebook.fit import STATE, Progress, Schedule
from training.recipes.picturebook.text import COLOR_NAMES, NAMES

SIDE = 256
SLOTS = 16  # most objects (things and stuff) of a scene
TRAIN_SEED, EVAL_SEED = 1_000, 2_000
UNNAMED = 0.25  # share of things in a tone without a name: what parts shape from colour
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CHECKPOINTS = Path(__file__).parents[3] / "grand_pipeline" / "picturebook" / "checkpoints"


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


def pixels_of(
    images: npt.NDArray[np.uint8],
    size: int,
    *,
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> Tensor:
    """(B, H, W, 3) bytes to (B, 3, size, size) float32: resized (bicubic) and normalised.

    Resizing bytes with antialiasing is what the image processors (PIL) do.
    """
    pixels = torch.tensor(images).permute(0, 3, 1, 2)
    if images.shape[1:3] != (size, size):
        pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
    scale = torch.tensor(std)[:, None, None] * 255
    offset = torch.tensor(mean)[:, None, None] * 255
    return (pixels.float() - offset) / scale


Detections = Sequence[tuple[int, npt.NDArray[np.float32], float]]


def hits(
    found: Detections, truth: dict[int, npt.NDArray[np.float32]], threshold: float = 0.5
) -> npt.NDArray[np.bool_]:
    """Which detections of one class, best score first, find a true box of their own.

    Args:
        found: (image, box xyxy, score) of every detection.
        truth: true boxes (n, 4) by image.
        threshold: least IoU of a hit.
    """
    used = {image: np.zeros(len(boxes), bool) for image, boxes in truth.items()}
    right = np.zeros(len(found), bool)
    for place, (image, box, _) in enumerate(sorted(found, key=lambda f: -f[2])):
        boxes = truth.get(image)
        if boxes is None or not len(boxes):
            continue
        overlap = np.where(used[image], 0.0, geometry.iou(box[None], boxes)[0])
        best = int(overlap.argmax())
        if overlap[best] >= threshold:
            right[place], used[image][best] = True, True
    return right


def average_precision(found: Detections, truth: dict[int, npt.NDArray[np.float32]]) -> float:
    """Area under the interpolated precision-recall curve of one class at IoU 0.5."""
    total = sum(len(boxes) for boxes in truth.values())
    if not total or not len(found):
        return 0.0
    found_so_far = np.cumsum(hits(found, truth))
    recall = found_so_far / total
    precision = found_so_far / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def record(
    command: str, schedule: Schedule, progress: Progress, scores: Mapping[str, float]
) -> dict[str, Any]:
    """What `training.json` beside a checkpoint says: how it was made and what it scored.

    `command` is the recipe's module and its own options; budget, batch and seed are added.
    """
    minutes = f" --minutes {schedule.minutes:g}" if schedule.minutes else ""
    return {
        "commands": [
            f"python -m training.recipes.picturebook.{command}{minutes}"
            f" --batch-size {schedule.batch_size} --lr {schedule.lr:g} --out OUT"
        ],
        "seed": schedule.seed,
        "steps": progress.step,
        "images": progress.step * schedule.batch_size,
        "minutes": round(progress.seconds / 60, 1),
        "machine": machine(),
        "scores": {name: round(value, 4) for name, value in scores.items()},
    }


def machine() -> str:
    """The machine of a training in words that name no host."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} core of an {platform.machine()} CPU"


def load_text_tower(model: nn.Module, run: Path) -> None:
    """Start from the averaged text tower of another detector run of the same text size."""
    prefix = "ema.owl.owlvit.text_"
    with safe_open(run / STATE, framework="pt") as state:
        names = [name for name in list(state.keys()) if name.startswith(prefix)]
        weights = {name.removeprefix("ema."): state.get_tensor(name) for name in names}
    model.load_state_dict(weights, strict=False)


def export_model(model: nn.Module, processor: Any, folder: Path, card: dict[str, Any]) -> None:
    """Write a fp16 copy of a transformers model, its processor and `training.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    half: Any = model.half()
    half.save_pretrained(folder)
    processor.save_pretrained(folder)
    model.float()
    model.load_state_dict(state)
    (folder / "training.json").write_text(json.dumps(card, indent=2) + "\n")


def one_thread() -> None:
    """Keep torch to the cores that OMP_NUM_THREADS names (default 1)."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
