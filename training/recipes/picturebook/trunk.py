"""A detector's vision tower as the start of another model's, and features kept of frozen towers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from grand_pipeline.errors import GrandError
from training.recipes.picturebook.export import WEIGHTS


def load_tower(folder: Path) -> dict[str, Tensor]:
    """The weights of the OWL-ViT vision tower of an exported detector.

    Raises:
        GrandError: the folder holds no such tower.
    """
    return _part(folder, "owlvit.vision_model.", "encoder.layers.0.self_attn.q_proj.weight")


def load_text(folder: Path) -> dict[str, Tensor]:
    """The weights of the text tower of an exported detector, under their full names.

    Raises:
        GrandError: the folder holds no such tower.
    """
    prefix = "owlvit.text_"
    return {prefix + k: v for k, v in _part(folder, prefix, "projection.weight").items()}


def _part(folder: Path, prefix: str, sign: str) -> dict[str, Tensor]:
    """Weights whose names begin with `prefix`, without it; `sign` is one that must be there."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise GrandError(f"no {WEIGHTS} in {folder}; train and export the detector first")
    weights = load_file(path).items()
    part = {k.removeprefix(prefix): v.float() for k, v in weights if k.startswith(prefix)}
    if sign not in part:
        raise GrandError(f"{path} holds no {prefix}{sign}; give the folder of an exported detector")
    return part


def start_blip(vision: nn.Module, tower: dict[str, Tensor], sample: Tensor) -> None:
    """Copy a tower into a BlipVisionModel, whose query, key and value are one matrix."""
    new = {}
    for name, value in _layers(tower, vision).items():
        if ".q_proj." in name:
            parts = [value, *(tower[name.replace("q_proj", x)] for x in ("k_proj", "v_proj"))]
            new[name.replace("q_proj", "qkv")] = torch.cat(parts)
        elif ".out_proj." in name:
            new[name.replace("out_proj", "projection")] = value
        elif "_proj." not in name:
            new[name] = value
    kernel, first, place = _folded_embeddings(tower, sample)
    new["embeddings.patch_embedding.weight"] = kernel
    new["embeddings.patch_embedding.bias"] = torch.zeros(len(kernel))
    new["embeddings.class_embedding"] = first[None, None]
    new["embeddings.position_embedding"] = torch.cat([torch.zeros_like(place[:1]), place])[None]
    _load(vision, new)


def start_siglip(vision: nn.Module, tower: dict[str, Tensor], sample: Tensor) -> None:
    """Copy a tower into a SiglipVisionModel, which has no class token; its head stays new."""
    new = _layers(tower, vision)
    kernel, _, place = _folded_embeddings(tower, sample)
    new["embeddings.patch_embedding.weight"] = kernel
    new["embeddings.patch_embedding.bias"] = torch.zeros(len(kernel))
    new["embeddings.position_embedding.weight"] = place
    new |= {k: v for k, v in vision.state_dict().items() if k.startswith("head.")}
    _load(vision, new)


def _layers(tower: dict[str, Tensor], vision: nn.Module) -> dict[str, Tensor]:
    """Weights of as many layers as `vision` has, and of the last norm."""
    depth = len(vision.encoder.layers)  # type: ignore[union-attr, arg-type]  # untyped package
    kept = tuple(f"encoder.layers.{i}." for i in range(depth))
    return {k: v for k, v in tower.items() if k.startswith((*kept, "post_layernorm."))}


def _load(vision: nn.Module, weights: dict[str, Tensor]) -> None:
    missing, unexpected = vision.load_state_dict(weights, strict=False)
    if missing or unexpected:
        raise GrandError(f"vision towers differ: missing {missing}, unexpected {unexpected}")


def _folded_embeddings(tower: dict[str, Tensor], sample: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patch kernel, class embedding and position embeddings with OWL-ViT's first norm folded in.

    OWL-ViT normalises its embeddings before the first layer, the others do not. A norm divides
    by each token's own spread; here it is the mean spread over `sample`, pixels (N, 3, S, S).
    """
    kernel = tower["embeddings.patch_embedding.weight"]
    place = tower["embeddings.position_embedding.weight"]
    first = tower["embeddings.class_embedding"] + place[0]
    gain, shift = tower["pre_layernorm.weight"], tower["pre_layernorm.bias"]
    seen = F.conv2d(sample, kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2) + place[1:]
    scale = gain / seen.std(-1).mean()
    kernel = (kernel - kernel.mean(0, keepdim=True)) * scale[:, None, None, None]
    first = (first - first.mean()) / first.std() * gain + shift
    place = (place[1:] - place[1:].mean(-1, keepdim=True)) * scale + shift
    return kernel, first, place


class Memo:
    """Patch features of a frozen tower by scene, so that each scene is encoded once."""

    def __init__(self, keep: int = 3000) -> None:
        self.keep = keep
        self.features: dict[int, Tensor] = {}

    @torch.no_grad()
    def __call__(
        self, encode: Callable[[Tensor], Tensor], pixels: Tensor, indices: tuple[int, ...]
    ) -> Tensor:
        """Features (B, T, D) of the scenes `indices`, whose pixels are (B, 3, S, S)."""
        new = [k for k, index in enumerate(indices) if index not in self.features]
        if new:
            made = encode(pixels[new]).to(torch.bfloat16)
            self.features |= {indices[k]: f for k, f in zip(new, made, strict=True)}
        found = torch.stack([self.features[i] for i in indices]).to(pixels.dtype)
        while len(self.features) > self.keep:
            del self.features[next(iter(self.features))]
        return found
