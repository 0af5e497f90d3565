"""A trained student as a folder: written by `save`, loaded again by one call of `load`.

config.json         the form of its tower, the side of its pictures, its categories
model.safetensors   weights of the tower, and the embeddings of the categories under "texts"
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from grand_pipeline.errors import SettingsError
from training.checkpoint import replace_folder
from training.distributed import full
from training.models.densevlm import towers
from training.models.densevlm.towers import Tower

MODEL_TYPE = "densevlm"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_TEXTS, _TOWER = "texts", "tower."


@dataclass(frozen=True)
class Trained:
    """A tower, the side of the pictures it learnt from, the names of its categories, things first,
    and their embeddings (C, P)."""

    tower: Tower
    side: int
    things: tuple[str, ...]
    stuff: tuple[str, ...]
    texts: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """All categories in the order of the embeddings."""
        return (*self.things, *self.stuff)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.tower.mean.device


def save(folder: Path, trained: Trained, *, write: bool = True) -> None:
    """Write the folder, all of it or nothing. Ranks that share a model all call, one writes."""
    state = {f"{_TOWER}{name}": full(v) for name, v in trained.tower.state_dict().items()}
    held = {name: v.detach().cpu().contiguous() for name, v in state.items()}
    held[_TEXTS] = trained.texts.detach().cpu().contiguous()
    if write:
        replace_folder(folder, lambda out: _write(out, trained, held))


def _write(folder: Path, trained: Trained, state: dict[str, Tensor]) -> None:
    facts = {
        "model_type": MODEL_TYPE,
        "tower": towers.described(trained.tower),
        "side": trained.side,
        "things": trained.things,
        "stuff": trained.stuff,
    }
    (folder / CONFIG).write_text(json.dumps(facts, indent=2, default=str) + "\n", "utf-8")
    save_file(state, folder / WEIGHTS)


def load(folder: Path, device: str = "cpu") -> Trained:
    """Load a folder that `save` wrote. Raises SettingsError for any other."""
    try:
        facts = json.loads((folder / CONFIG).read_text("utf-8"))
        tower = towers.built(facts["tower"])
        state = load_file(folder / WEIGHTS)
        texts = state.pop(_TEXTS)
        tower.load_state_dict({name.removeprefix(_TOWER): v for name, v in state.items()})
        things, stuff = tuple(facts["things"]), tuple(facts["stuff"])
        side = int(facts["side"])
    except (OSError, ValueError, KeyError, RuntimeError, SettingsError, SafetensorError) as error:
        raise SettingsError(
            f"'{folder}' holds no DenseVLM ({str(error).splitlines()[0][:200]}): give the folder "
            "'model' of a training"
        ) from error
    return Trained(tower.eval().to(device), side, things, stuff, texts.to(device))
