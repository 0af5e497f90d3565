"""A trained X-VLM as a folder: written by `save`, loaded again by one call of `load`.

config.json         architecture, and how pictures and texts are brought to the model
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
from training.metrics.grounding import Pixels
from training.models.xvlm.network import Architecture, Xvlm

MODEL_TYPE = "xvlm"
_CONFIG, _WEIGHTS, _TOKENIZER = "config.json", "model.safetensors", "tokenizer"


@dataclass(frozen=True)
class Trained:
    """A model, its tokenizer, the most tokens of a text that it has learnt to read, and how pixels
    of boxes are counted when it is measured."""

    model: Xvlm
    tokenizer: Any
    tokens: int
    pixels: Pixels = "plain"

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.temperature.device


def save(folder: Path, trained: Trained, *, write: bool = True) -> None:
    """Write the folder, all of it or nothing. Ranks that share a model all call, one writes."""
    state = {k: full(v).detach().cpu().contiguous() for k, v in trained.model.state_dict().items()}
    if write:
        replace_folder(folder, lambda out: _write(out, trained, state))


def _write(folder: Path, trained: Trained, state: dict[str, Tensor]) -> None:
    facts = {
        "model_type": MODEL_TYPE,
        "tokens": trained.tokens,
        "pixels": trained.pixels,
        "architecture": asdict(trained.model.sizes),
    }
    (folder / _CONFIG).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    save_file(state, folder / _WEIGHTS)
    trained.tokenizer.save_pretrained(folder / _TOKENIZER)


def load(folder: Path, device: str = "cpu") -> Trained:
    """Load a folder that `save` wrote. Raises SettingsError for any other."""
    from transformers import AutoTokenizer

    try:
        facts = json.loads((folder / _CONFIG).read_text("utf-8"))
        sizes = fields.build(Architecture, facts["architecture"], "its architecture")
        model = Xvlm(sizes)
        model.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SettingsError, SafetensorError) as error:
        raise SettingsError(
            f"'{folder}' holds no X-VLM ({str(error).splitlines()[0][:200]}): give the folder "
            "'model' of a training"
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(folder / _TOKENIZER)
    return Trained(model.eval().to(device), tokenizer, int(facts["tokens"]), facts["pixels"])
