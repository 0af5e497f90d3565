"""Scenes as training material: pixel tensors, a pool of recent scenes, and the export of a run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene, SceneObject

TRAIN_SEED = 1
EVAL_SEED = 90_001
HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Rgb = npt.NDArray[np.uint8]


def pixels(
    images: list[Rgb],
    size: int,
    *,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    mean: tuple[float, ...] = HALF,
    std: tuple[float, ...] = HALF,
) -> Tensor:
    """Squash RGB arrays (H, W, 3) to (N, 3, size, size) floats, as the image processors do."""
    small = [np.asarray(Image.fromarray(i).resize((size, size), resample)) for i in images]
    stack = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255.0
    return (stack - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def eval_scenes(count: int, *, held_out: bool = False) -> list[Scene]:
    """Scenes of a series that no training run draws from."""
    return [render(EVAL_SEED, i, held_out=held_out) for i in range(count)]


UNNAMED = 0.25  # share of things in a tone without a name: what parts shape from colour


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
    obj: SceneObject, spread: float, rng: np.random.Generator, size: int = 256
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


def save_half(model: PreTrainedModel, folder: Path, record: Mapping[str, object]) -> None:
    """Write a transformers model as float16 safetensors with its training record."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    model.config.dtype = "float16"
    model.save_pretrained(folder, state_dict=state, safe_serialization=True)
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def arguments(
    description: str, *, steps: int, batch: int, lr: float, scenes: int, trunk: bool = False
) -> argparse.Namespace:
    """The command line that the recipes share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run's state")
    parser.add_argument("--export", type=Path, help="folder for the float16 checkpoint")
    parser.add_argument("--export-only", action="store_true", help="do not train, only export")
    parser.add_argument("--minutes", type=float, help="budget of wall-clock training time")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=scenes, help="unseen scenes to score on")
    if trunk:
        parser.add_argument("--trunk", type=Path, help="run folder of a detector to start from")
        parser.add_argument("--warm", type=Path, help="run folder of the same recipe to start from")
        parser.add_argument("--frozen", action="store_true", help="do not train the vision tower")
    return parser.parse_args()


def record(recipe: str, args: argparse.Namespace, scores: Mapping[str, float]) -> dict[str, object]:
    """What `training.json` says about a run."""
    state = json.loads((args.out / "state.json").read_text())
    schedule = state["schedule"]
    minutes = f" --minutes {schedule['minutes']:g}" if schedule["minutes"] else ""
    return {
        "commands": [
            f"python -m training.recipes.picturebook.{recipe}{minutes}"
            f" --steps {schedule['steps']} --batch {schedule['batch_size']}"
            f" --lr {schedule['lr']:g} --seed {schedule['seed']} --out OUT --export DIR"
        ],
        "seed": schedule["seed"],
        "steps": state["step"],
        "images": state["step"] * schedule["batch_size"],
        "minutes": round(state["seconds"] / 60, 1),
        "machine": "1 core of an x86-64 CPU",
        "scores": {name: round(value, 4) for name, value in scores.items()},
    }
