"""A trained model as a folder: what it is in `config.json`, its weights in `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from grand_pipeline.errors import SettingsError
from grand_pipeline.weights import reason, sane
from training.checkpoint import replace_folder
from training.distributed import full

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save(
    folder: Path,
    facts: Mapping[str, Any],
    state: Mapping[str, Tensor],
    beside: Callable[[Path], object] | None = None,
    *,
    write: bool = True,
) -> None:
    """Write the folder, all of it or nothing. Ranks that share a model all call, one writes.

    `facts` is what the model is made from again, as JSON; `beside` puts more files into the folder,
    a tokenizer for example.
    """
    held = {name: full(value).detach().cpu().contiguous() for name, value in state.items()}

    def fill(out: Path) -> None:
        (out / CONFIG).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
        save_file(held, out / WEIGHTS)
        if beside is not None:
            beside(out)

    if write:
        replace_folder(folder, fill)


@contextmanager
def opened(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The facts of a folder that holds a `name`, to make the model of.

    Raises SettingsError for any other folder, also where making the model fails.
    """
    try:
        sane(str(folder))
        yield json.loads((folder / CONFIG).read_text("utf-8"))
    except Exception as error:  # a foreign folder can make the libraries fail in any way
        raise SettingsError(
            f"'{folder}' holds no {name} ({reason(error)}): give the folder 'model' of a training"
        ) from error


def weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder. Raises OSError or SafetensorError where it has none."""
    return load_file(folder / WEIGHTS)
