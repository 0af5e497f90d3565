"""Published MDETR files: what is read from them, and nothing else.

A file is a table of `model` (the weights that torch.hub loads, and that are taken here),
`model_ema` (their running mean, with which its authors evaluate), `optimizer`, `epoch` and `args`
(the command line of the training). To use the mean, save `{"model": checkpoint["model_ema"]}`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from grand_pipeline import weights
from grand_pipeline.errors import MissingDependencyError
from stages import published
from stages.mdetr import convolutions, layout
from stages.mdetr.layout import TEXT, Design
from stages.mdetr.network import Network, roberta

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SUFFIX = ".pth"
ROBERTA = "FacebookAI/roberta-base"
"""Whose tokenizer all published models read with; it is in none of their files."""
_FETCH = (
    "Fetch pretrained_resnet101_checkpoint.pth, pretrained_EB3_checkpoint.pth or "
    "refcocog_EB3_checkpoint.pth from https://zenodo.org/record/4721981, and give the path"
)
_TOKENIZERS = ("tokenizer.json", "vocab.json")


def is_checkpoint(model: str) -> bool:
    """Whether `model` names a file rather than a folder or a hub id."""
    return model.endswith(SUFFIX)


def tokenizer(model: str) -> str:
    """The folder of the file if tokenizer.json or vocab.json is in it too, else a hub id."""
    folder = Path(model).expanduser().parent
    return str(folder) if any((folder / name).is_file() for name in _TOKENIZERS) else ROBERTA


def load(model: str, device: str, dtype: str = "float32") -> Network:
    """Load a published file, for example pretrained_resnet101_checkpoint.pth.

    Raises SettingsError for a file that is not there, can not be read safely, or holds anything
    but exactly the published layout (see `layout.UNUSED` for what is left aside on purpose).
    """
    import torch

    where = f"model file '{model}'"
    # The command line is saved as such a value; it can hold nothing that runs.
    held = published.state(_path(model), where, _FETCH, trusted=[argparse.Namespace])
    state = {layout.named(key): value for key, value in held.items()}
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
