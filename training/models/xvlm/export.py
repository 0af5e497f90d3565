"""A trained X-VLM as a folder: written by `save`, loaded again by one call of `load`.

config.json         architecture, and how pictures and texts are brought to the model
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
from training.metrics.grounding import Pixels
from training.models.xvlm.network import Architecture, Xvlm

MODEL_TYPE = "xvlm"
_TOKENIZER = "tokenizer"


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
    """Write the folder, as `export.save`."""
    facts = {
        "model_type": MODEL_TYPE,
        "tokens": trained.tokens,
        "pixels": trained.pixels,
        "architecture": asdict(trained.model.sizes),
    }

    def tokenizer(out: Path) -> None:
        trained.tokenizer.save_pretrained(out / _TOKENIZER)

    export.save(folder, facts, trained.model.state_dict(), tokenizer, write=write)


def load(folder: Path, device: str = "cpu") -> Trained:
    """Load a folder that `save` wrote. Raises SettingsError for any other."""
    from transformers import AutoTokenizer

    with export.opened(folder, "X-VLM") as facts:
        model = Xvlm(fields.build(Architecture, facts["architecture"], "its architecture"))
        model.load_state_dict(export.weights(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder / _TOKENIZER, trust_remote_code=False)
        tokens, pixels = int(facts["tokens"]), facts["pixels"]
    return Trained(model.eval().to(device), tokenizer, tokens, pixels)
