"""Published MDETR files: what is read from them, and nothing else.

A file is a table of `model` (the weights that torch.hub loads, and that are taken here),
`model_ema` (their running mean, with which its authors evaluate), `optimizer`, `epoch` and `args`
(the command line of the training). To use the mean, save `{"model": checkpoint["model_ema"]}`.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from grand_pipeline import weights
from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages.mdetr import convolutions, layout
from stages.mdetr.layout import TEXT, Design
from stages.mdetr.network import Network, roberta

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SUFFIX = ".pth"
ROBERTA = "FacebookAI/roberta-base"
"""Whose tokenizer all published models read with; it is in none of their files."""
_PAGE = "https://zenodo.org/record/4721981"
_TOKENIZERS = ("tokenizer.json", "vocab.json")


def is_checkpoint(model: str) -> bool:
    """Whether `model` names a file rather than a folder or a hub id."""
    return model.endswith(SUFFIX)


def tokenizer(model: str) -> str:
    """The folder of the file if tokenizer.json or vocab.json is in it too, else a hub id."""
    folder = _path(model).parent
    return str(folder) if any((folder / name).is_file() for name in _TOKENIZERS) else ROBERTA


def load(model: str, device: str, dtype: str = "float32") -> Network:
    """Load a published file, for example pretrained_resnet101_checkpoint.pth.

    Raises SettingsError for a file that is not there, can not be read safely, or holds anything
    but exactly the published layout (see `layout.UNUSED` for what is left aside on purpose).
    """
    import torch

    where = f"model file '{model}'"
    state = {layout.named(key): value for key, value in _state(_path(model), where).items()}
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    design = layout.design(shapes, where)
    layout.check(shapes, design, where)
    return assembled(design, state, device, getattr(torch, dtype))


def assembled(design: Design, state: dict[str, Tensor], device: str, dtype: torch.dtype) -> Network:
    """The network with the weights that `layout.weights(design)` names.

    Raises MissingDependencyError if the installed transformers names its weights otherwise.
    """
    needed = {key: state[key] for key in layout.weights(design)}
    text = roberta(design)
    inner = {k.removeprefix(TEXT): v for k, v in needed.items() if k.startswith(TEXT)}
    try:
        # The file's own tensors, so that there is never a second text encoder in memory.
        text.load_state_dict(inner, assign=True)
    except RuntimeError as error:
        raise MissingDependencyError(
            "the installed transformers names the weights of a RobertaModel otherwise than release "
            "5.23 does, so those of an MDETR checkpoint have no place: "
            f"{str(error).splitlines()[-1].strip()[:300]}. Install `transformers==5.23`"
        ) from error
    own = {key: value for key, value in needed.items() if not key.startswith(TEXT)}
    # Norms are folded before anything is rounded to `dtype`.
    moved = {key: value.to(device, dtype) for key, value in convolutions.folded(own).items()}
    return Network(design, moved, text.to(device, dtype), device, dtype)


def _path(model: str) -> Path:
    return Path(weights.resolve(model)).expanduser()


def _state(path: Path, where: str) -> dict[str, Tensor]:
    import torch

    if not path.is_file():
        raise SettingsError(
            f"{where} does not exist. Fetch pretrained_resnet101_checkpoint.pth, "
            f"pretrained_EB3_checkpoint.pth or refcocog_EB3_checkpoint.pth from {_PAGE}, and give "
            "the path"
        )
    try:
        # The command line is saved as such a value; it can hold nothing that runs.
        with torch.serialization.safe_globals([argparse.Namespace]):
            # Mapped, so that only what is used is ever read; files older than zip can not be.
            found = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # a foreign file can make the reader fail in any way
        raise SettingsError(
            f"{where} can not be read as weights alone: {_first_line(error)}. "
            "Nothing else in a file is trusted; where you trust it, load it yourself and save "
            'torch.save({"model": checkpoint["model"]}, path)'
        ) from error
    state = found.get("model", found) if isinstance(found, dict) else None
    if not isinstance(state, dict):
        raise SettingsError(f"{where} holds no table of weights; give a published checkpoint")
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
