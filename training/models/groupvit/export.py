"""A trained GroupViT as a folder: written by `save`, loaded again by one call of `load`.

config.json         architecture, and how pictures are brought to the model when it is measured
model.safetensors   weights
tokenizer.json, tokenizer_config.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from grand_pipeline import fields
from grand_pipeline.errors import SettingsError
from training.checkpoint import replace_folder
from training.distributed import full
from training.models.groupvit.network import Architecture, GroupVit

MODEL_TYPE = "groupvit"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


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
    """Write the folder, all of it or nothing. Ranks that share a model all call, one writes."""
    state = {k: full(v).detach().cpu().contiguous() for k, v in trained.model.state_dict().items()}
    if write:
        replace_folder(folder, lambda out: _write(out, trained, state))


def _write(folder: Path, trained: Trained, state: dict[str, Tensor]) -> None:
    facts = {
        "model_type": MODEL_TYPE,
        "reading": asdict(trained.reading),
        "architecture": asdict(trained.model.sizes),
    }
    (folder / _CONFIG).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    save_file(state, folder / _WEIGHTS)
    trained.tokenizer.save_pretrained(folder)


def load(folder: Path, device: str = "cpu") -> Trained:
    """Load a folder that `save` wrote. Raises SettingsError for any other."""
    from transformers import AutoTokenizer

    try:
        facts = json.loads((folder / _CONFIG).read_text("utf-8"))
        reading = fields.build(Reading, facts["reading"], "how it is asked")
        model = GroupVit(fields.build(Architecture, facts["architecture"], "its architecture"))
        model.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SettingsError, SafetensorError) as error:
        raise SettingsError(
            f"'{folder}' holds no GroupViT ({str(error).splitlines()[0][:200]}): give the folder "
            "'model' of a training"
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Trained(model.eval().to(device), tokenizer, reading)
