"""An X-VLM in miniature, and what it is shown."""

from __future__ import annotations

import torch
from torch import Tensor

from training.models.xvlm.network import Architecture, Xvlm

SIZES = Architecture(
    image_size=32,
    patch_size=4,
    window=4,
    embed_dim=16,
    depths=(1, 1),
    vision_heads=(1, 2),
    absolute_positions=True,
    vocabulary=30,
    positions=16,
    hidden=16,
    inner=32,
    heads=2,
    text_layers=1,
    fusion_layers=2,
    dropout=0.0,
    drop_path=0.0,
    projection=8,
)
"""Images of 32 pixels as 16 patches."""


def network(sizes: Architecture = SIZES) -> Xvlm:
    """A network with random weights, the same at every call, in evaluation mode."""
    torch.manual_seed(0)
    return Xvlm(sizes).eval()


def pixels(count: int) -> Tensor:
    """Noise (count, 3, 32, 32)."""
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def texts(count: int) -> tuple[Tensor, Tensor]:
    """Tokens (count, 4) and mask of texts without padding."""
    drawn = torch.randint(5, 30, (count, 4), generator=torch.Generator().manual_seed(2))
    return drawn, torch.ones_like(drawn)
