"""A trained student as a folder: written by `save`, loaded again by one call of `load`.

config.json         the form of its tower, the side of its pictures, its categories
model.safetensors   weights of the tower, and the embeddings of the categories under "texts"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training import export
from training.models.densevlm import towers
from training.models.densevlm.towers import Tower

MODEL_TYPE = "densevlm"
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
    """Write the folder, as `export.save`."""
    facts = {
        "model_type": MODEL_TYPE,
        "tower": towers.described(trained.tower),
        "side": trained.side,
        "things": trained.things,
        "stuff": trained.stuff,
    }
    state = {f"{_TOWER}{name}": value for name, value in trained.tower.state_dict().items()}
    export.save(folder, facts, {**state, _TEXTS: trained.texts}, write=write)


def load(folder: Path, device: str = "cpu") -> Trained:
    """Load a folder that `save` wrote. Raises SettingsError for any other."""
    with export.opened(folder, "DenseVLM") as facts:
        tower = towers.built(facts["tower"])
        state = export.weights(folder)
        texts = state.pop(_TEXTS)
        tower.load_state_dict({name.removeprefix(_TOWER): v for name, v in state.items()})
        things, stuff = tuple(facts["things"]), tuple(facts["stuff"])
        side = int(facts["side"])
    return Trained(tower.eval().to(device), side, things, stuff, texts.to(device))
