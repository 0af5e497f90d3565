"""From a trained model to the folder that ships: weights, training record, thinned log."""

from __future__ import annotations

import copy
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from grand_pipeline.errors import GrandError
from training.checkpoint import replace_folder, replace_text
from training.recipes.picturebook import curves

RECORD, WEIGHTS = "training.json", "model.safetensors"


def checkpoint(
    model: Any, processor: Any, folder: Path, facts: Mapping[str, Any], logs: Mapping[str, Path]
) -> None:
    """Write a float16 copy of a transformers model, its processor and its record.

    `logs`: run folder of every phase by its name; a thinned log goes beside the weights.
    """

    def write(target: Path) -> None:
        copy.deepcopy(model).half().save_pretrained(target)
        processor.save_pretrained(target)

    whole(folder, write, facts, logs)


def whole(
    folder: Path,
    write: Callable[[Path], None],
    facts: Mapping[str, Any],
    logs: Mapping[str, Path],
) -> None:
    """Put what `write` writes, the record and the thinned log in the place of `folder`."""

    def write_all(target: Path) -> None:
        write(target)
        curves.keep(logs, target / curves.KEPT)
        (target / RECORD).write_text(_text(facts))

    replace_folder(folder, write_all)


def is_done(out: Path, folder: Path | None, phases: object) -> bool:
    """Whether `folder` is what the run in `out` exported, trained in exactly these phases."""
    own = out / RECORD
    if not own.is_file() or json.loads(own.read_text())["phases"] != phases:
        return False
    shipped = folder / RECORD if folder else own
    return shipped.is_file() and shipped.read_bytes() == own.read_bytes()


def mark_done(out: Path, facts: Mapping[str, Any]) -> None:
    """Keep the record of the export beside the state of the run."""
    replace_text(out / RECORD, _text(facts))


def load_checkpoint(model: nn.Module, folder: Path) -> None:
    """Start from the weights of an exported checkpoint.

    Raises:
        GrandError: the folder holds no weights, or those of another model.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise GrandError(f"no {WEIGHTS} in {folder}; --warm takes an exported checkpoint")
    weights, own = load_file(path), model.state_dict()
    odd = [n for n, value in weights.items() if n not in own or own[n].shape != value.shape]
    missing = model.load_state_dict(weights, strict=False).missing_keys if not odd else []
    tied = {value.data_ptr() for name, value in own.items() if name in weights}
    odd += [name for name in missing if own[name].data_ptr() not in tied]
    if odd:
        raise GrandError(f"{path} holds another model: {sorted(odd)[:3]} differ from this recipe's")


def machine(device: str) -> str:
    """The machine of a training in words that name no host."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} core of an {platform.machine()} CPU"


def one_thread() -> None:
    """Keep torch to the cores that OMP_NUM_THREADS names (default 1)."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2) + "\n"
