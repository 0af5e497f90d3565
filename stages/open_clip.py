"""Two-tower models of the package open_clip: EVA-02-CLIP and others that transformers lacks.

A model is named `open_clip:` and then a hub id (optionally `@revision`) or a folder that holds
open_clip_config.json beside the weights. The package needs torchvision, so it is an extra.
"""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grand_pipeline import weights
from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages.device import placed

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

EXAMPLE = f"{weights.OPEN_CLIP}timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k"
CONFIG = "open_clip_config.json"
PRECISIONS = {"float32": "fp32", "bfloat16": "pure_bf16", "float16": "pure_fp16"}
"""The package's names for weights and sums of one format."""


@dataclass(frozen=True)
class OpenClip:
    """A loaded model with its own preparation of images and texts."""

    model: Any
    prepare: Callable[[Image], Tensor]
    tokenize: Callable[[list[str]], Tensor]
    device: str
    dtype: str
    side: int

    @property
    def scale(self) -> Tensor:
        """Of the logits."""
        scale: Tensor = self.model.logit_scale.detach().float().exp()
        return scale

    @property
    def bias(self) -> Tensor | None:
        """Of the logits; only models trained with a sigmoid have one."""
        bias: Tensor | None = getattr(self.model, "logit_bias", None)
        return None if bias is None else bias.detach().float()

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (n, d)."""
        rows: Tensor = self.model.encode_text(placed(self.tokenize(list(texts)), self.device))
        return rows.float()

    def images(self, images: Sequence[Image]) -> Tensor:
        """Embeddings (b, d)."""
        import torch

        pixels = torch.stack([self.prepare(image) for image in images])
        rows: Tensor = self.model.encode_image(
            placed(pixels, self.device, getattr(torch, self.dtype))
        )
        return rows.float()


def is_named(model: str) -> bool:
    """Whether `model` is one of this package."""
    return model.startswith(weights.OPEN_CLIP)


def load(model: str, device: str, dtype: str = "float32", package: Any = None) -> OpenClip:
    """Load `open_clip:HUB_ID[@REVISION]` or `open_clip:FOLDER`.

    Args:
        model: the name with its prefix.
        device: "cpu", "cuda", ...
        dtype: number format of the towers.
        package: the module `open_clip`; imported if not given.

    Raises MissingDependencyError without the package or the weights, SettingsError for a folder
    that holds something else.
    """
    found = package if package is not None else _package(model)
    folder = _folder(model)
    place = f"local-dir:{folder}"
    try:
        _refuse_code(folder)
        live, prepare = found.create_model_from_pretrained(
            place, precision=PRECISIONS[dtype], device=device
        )
        tokenize = found.get_tokenizer(place)
    except Exception as error:  # a foreign folder can make the package fail in any way
        raise SettingsError(
            f"model '{model}' can not be loaded by open_clip: {weights.reason(error)}. Give a "
            f"checkpoint of that package, for example {EXAMPLE}"
        ) from error
    size = live.visual.image_size
    side = max(size) if isinstance(size, tuple | list) else size
    return OpenClip(live.eval(), prepare, tokenize, device, dtype, int(side))


def _refuse_code(folder: Path) -> None:
    """Raise ValueError where the configuration says that code beside the weights is to be run.

    The package hands what it finds there on to transformers, as if the user had asked for it.
    """
    facts = json.loads((folder / CONFIG).read_text("utf-8"))
    if '"trust_remote_code"' in json.dumps(facts):
        raise ValueError(f"{CONFIG} asks to trust code that comes with it, which is never run")


def _package(model: str) -> Any:
    try:
        return importlib.import_module("open_clip")
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision for another torch
        raise MissingDependencyError(
            f"model '{model}' needs the package open_clip_torch and a torchvision made for the "
            f"installed torch: {error}. Install them with `pip install "
            "'grand-pipeline[open-clip]'`, or name a CLIP or SigLIP checkpoint of transformers, "
            "for example openai/clip-vit-large-patch14-336"
        ) from error


def _folder(model: str) -> Path:
    """Where the checkpoint lies; fetched from the hub if it has to be."""
    folder = Path(weights.resolve(model))
    if not folder.is_dir():
        folder = _fetched(model)
    if not (folder / CONFIG).is_file():
        raise SettingsError(
            f"model '{model}' has no {CONFIG}, so it is no checkpoint of open_clip; give one, for "
            f"example {EXAMPLE}"
        )
    return folder


def _fetched(model: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, revision = weights.resolve(model), weights.revision(model)
    try:
        # The same weights often lie there twice, once as a pickle.
        folder = Path(snapshot_download(repository, revision=revision, ignore_patterns="*.bin"))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(repository, revision=revision))
    except (OSError, ValueError) as error:
        raise MissingDependencyError(
            f"model '{model}' is neither a folder here, nor in the cache, nor could it be "
            f"fetched: {weights.reason(error)}. Fetch it with `grand models pull "
            f"{shlex.quote(model)}`, or give a folder"
        ) from error
    return folder
