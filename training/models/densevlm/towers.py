"""Image towers whose patches stand in the space of texts, brought to one form.

`Tower` shows pictures to one of three networks: EVA-02-CLIP, SigLIP, and OWL-ViT, which only
teaches. All of a SigLIP's and an OWL-ViT's parts are those of transformers; how their patches come
into the space of texts is said here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grand_pipeline import fields
from grand_pipeline.errors import SettingsError
from training.models.densevlm.eva02 import Eva02, Eva02Sizes

Colors = Iterable[float]


class Network(Protocol):
    """What a tower needs of its network; pictures (B, 3, H, W) are normalised."""

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's blocks, in order."""

    @property
    def idle(self) -> tuple[nn.Module, ...]:
        """Parts of the blocks that features of patches do without."""

    def dense(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, P) of patches."""

    def embed(self, pixels: Tensor) -> Tensor:
        """Features (B, P) of whole pictures."""


class Tower(nn.Module):
    """A network, the patches' size, and how it wants colours to be."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, patch: int, mean: Colors, std: Colors) -> None:
        super().__init__()
        self.network, self.patch = network, patch
        for name, values in (("mean", mean), ("std", std)):
            held = torch.tensor(list(values))[:, None, None]
            self.register_buffer(name, held, persistent=False)

    def dense(self, pixels: Tensor, side: int = 0) -> Tensor:
        """Unit features (B, h, w, P) of the patches of pictures (B, 3, S, S) uint8.

        Shown at `side` pixels (0: as they are), less what is no whole patch.
        """
        side = side or pixels.shape[2]
        side -= side % self.patch
        shown = pixels.float() / 255
        if shown.shape[2:] != (side, side):
            shown = F.interpolate(shown, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        found = cast(Network, self.network).dense((shown - self.mean) / self.std)
        return F.normalize(found.float(), dim=-1)

    def embed(self, pixels: Tensor) -> Tensor:
        """Unit features (B, P) of pictures (B, 3, S, S) uint8."""
        shown = (pixels.float() / 255 - self.mean) / self.std
        return F.normalize(cast(Network, self.network).embed(shown).float(), dim=-1)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's blocks, in order."""
        return cast(Network, self.network).blocks

    def freeze(self, blocks: int = 0) -> None:
        """Freeze, in place, all but what the last `blocks` blocks give to features of patches."""
        self.requires_grad_(False)
        for block in list(self.blocks)[len(self.blocks) - blocks :]:
            block.requires_grad_(True)
        for part in cast(Network, self.network).idle:
            part.requires_grad_(False)


class Siglip(nn.Module):
    """The image tower of a SigLIP, which pools patches by attention instead of a class token.

    A patch alone under that attention is what it gives to the whole: its value, and what the
    feed-forward half makes of it.
    """

    def __init__(self, vision: Any) -> None:
        super().__init__()
        self.vision = vision

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's blocks, in order."""
        return cast(nn.ModuleList, self.vision.encoder.layers)

    @property
    def idle(self) -> tuple[nn.Module, ...]:
        """None: the attention that patches do without is in the head."""
        return ()

    def dense(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, P) of patches."""
        found = self.vision(pixel_values=pixels, interpolate_pos_encoding=True)
        states, head = found.last_hidden_state, self.vision.head
        width = states.shape[2]
        attention = head.attention
        value = F.linear(
            states, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        )
        states = attention.out_proj(value)
        states = states + head.mlp(head.layernorm(states))
        size = self.vision.config.patch_size
        grid = pixels.shape[2] // size, pixels.shape[3] // size
        return cast(Tensor, states.unflatten(1, grid))

    def embed(self, pixels: Tensor) -> Tensor:
        """Features (B, P) of whole pictures."""
        found = self.vision(pixel_values=pixels, interpolate_pos_encoding=True)
        return cast(Tensor, found.pooler_output)


class Owl(nn.Module):
    """The image tower of an OWL-ViT, as a teacher: its patches as its class head reads them."""

    def __init__(self, owl: Any) -> None:
        super().__init__()
        # The parts, for the whole has a text tower, and scalars, which FSDP does not cut.
        self.vision, self.norm = owl.owlvit.vision_model, owl.layer_norm
        self.head = owl.class_head.dense0

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's blocks, in order."""
        return cast(nn.ModuleList, self.vision.encoder.layers)

    @property
    def idle(self) -> tuple[nn.Module, ...]:
        """None."""
        return ()

    def dense(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, P) of patches; each is multiplied with the class token before."""
        found = self.vision(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
        states = self.vision.post_layernorm(found)
        size = self.vision.config.patch_size
        grid = pixels.shape[2] // size, pixels.shape[3] // size
        features = self.head(self.norm(states[:, 1:] * states[:, :1]))
        return cast(Tensor, features.unflatten(1, grid))

    def embed(self, pixels: Tensor) -> Tensor:
        """Features (B, P) of whole pictures: the mean of their patches."""
        return self.dense(pixels).mean((1, 2))


def described(tower: Tower) -> dict[str, Any]:
    """What `built` makes a tower of the same form from. Raises SettingsError for an OWL-ViT."""
    network = tower.network
    colors = {name: getattr(tower, name).flatten().tolist() for name in ("mean", "std")}
    if isinstance(network, Eva02):
        return {"kind": "eva02", "sizes": asdict(network.sizes), **colors}
    if isinstance(network, Siglip):
        sizes = json.loads(network.vision.config.to_json_string())
        return {"kind": "siglip", "sizes": sizes, **colors}
    raise SettingsError("an OWL-ViT teaches and does not learn: name an EVA-02-CLIP or a SigLIP")


def built(facts: Mapping[str, Any]) -> Tower:
    """A tower with random weights. Raises SettingsError or KeyError for unknown facts."""
    if facts["kind"] == "eva02":
        sizes = fields.build(Eva02Sizes, facts["sizes"], "the tower")
        return Tower(Eva02(sizes), sizes.patch_size, facts["mean"], facts["std"])
    if facts["kind"] == "siglip":
        from transformers import SiglipVisionConfig, SiglipVisionModel

        # The library wraps or does not wrap this network; inside of a SigLIP it is bare.
        made = SiglipVisionModel(SiglipVisionConfig(**facts["sizes"]))
        vision = getattr(made, "vision_model", made)
        return Tower(Siglip(vision), vision.config.patch_size, facts["mean"], facts["std"])
    raise SettingsError(f"no tower is of the kind '{facts['kind']}'; there are eva02 and siglip")
