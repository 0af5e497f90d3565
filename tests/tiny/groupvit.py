"""A GroupViT in miniature, and what it is shown."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.tiny import words
from training.models.groupvit.export import Reading, Trained
from training.models.groupvit.network import Architecture, GroupVit

SIZES = Architecture(
    image_size=32,
    patch_size=8,
    width=16,
    heads=2,
    depths=(2, 1, 1),
    groups=(6, 3),
    drop_path=0.0,
    std=0.1,
    vocabulary=30,
    tokens=16,
    text_width=16,
    text_heads=2,
    text_layers=1,
    inner=16,
    projection=8,
)
"""Images of 32 pixels as 16 patches, grouped to 6 and to 3."""
READING = Reading(32, ("a {}",), 0.0)


def network(sizes: Architecture = SIZES) -> GroupVit:
    """A network with random weights, the same at every call, in evaluation mode."""
    torch.manual_seed(0)
    return GroupVit(sizes).eval()


def trained(sizes: Architecture = SIZES, reading: Reading = READING) -> Trained:
    """The network with a tokenizer."""
    return Trained(network(sizes), words.bert_tokenizer(), reading)


def pixels(count: int, side: int = 32) -> Tensor:
    """Noise (count, 3, side, side)."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def texts(count: int) -> tuple[Tensor, Tensor]:
    """Tokens (count, 5) and mask of texts, every other one shorter by two."""
    drawn = torch.randint(5, 30, (count, 5), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(drawn)
    mask[::2, 3:] = 0
    return drawn * mask, mask
