"""A trained GroupViT as a folder: written by `save`, loaded again by one call of `load`.

config.json         architecture, and how pictures are brought to the model when it is measured
model.safetensors   weights
tokenizer.json, tokenizer_config.json
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from grand_pipeline import fields
from training import export
from training.models.groupvit.network import Architecture, GroupVit

MODEL_TYPE = "groupvit"


@dataclass(frozen=True)
class Reading:
    """How a model is asked: pictures with their shorter side at `side` pixels, classes put into
    each of the `prompts`, pixels whose best class has less than `background` left without one."""

    side: int
    prompts: tuple[str, ...]
    background: float


@dataclass(frozen=True)
class Trained:
    """A model, its tokenizer, and how it is asked."""

    model: GroupVit
    tokenizer: Any
    reading: Reading

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.scale.device


def save(folder: Path, trained: Trained, *, write: bool = True) -> None:
    """Write the folder, as `export.save`."""
    facts = {
        "model_type": MODEL_TYPE,
        "reading": asdict(trained.reading),
        "architecture": asdict(trained.model.sizes),
    }
    state, tokenizer = trained.model.state_dict(), trained.tokenizer
    export.save(folder, facts, state, tokenizer.save_pretrained, write=write)


def load(folder: Path, device: str = "cpu") -> Trained:
    """Load a folder that `save` wrote. Raises SettingsError for any other."""
    from transformers import AutoTokenizer

    with export.opened(folder, "GroupViT") as facts:
        reading = fields.build(Reading, facts["reading"], "how it is asked")
        model = GroupVit(fields.build(Architecture, facts["architecture"], "its architecture"))
        model.load_state_dict(export.weights(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return Trained(model.eval().to(device), tokenizer, reading)
