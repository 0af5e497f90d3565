"""EVA-02-CLIP's image tower (Sun et al. 2023; Fang et al. 2023), with features of every patch.

A ViT with a class token, absolute and rotary positions, a SwiGLU and a norm inside of attention and
of the SwiGLU. Patch features come from the last block without its attention, as CLIPSelf reads
them: the value of a patch is passed on as if the patch looked at nothing but itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPSILON = 1e-6
_ROTARY_SIDE = 16
"""Patches along a side that rotary positions were learnt with; other grids are scaled to it."""
_THETA = 10_000.0


@dataclass(frozen=True)
class Eva02Sizes:
    """Sizes of the tower; the defaults are those of B/16, 86.3 million parameters."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    projection: int = 512

    @property
    def inner(self) -> int:
        """Channels inside of a SwiGLU."""
        return int(self.width * 8 / 3)


class Attention(nn.Module):
    """Self-attention with rotary positions; keys have no bias."""

    def __init__(self, sizes: Eva02Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, sizes.width, bias=False)
        self.value = nn.Linear(sizes.width, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, _EPSILON)
        self.out = nn.Linear(sizes.width, sizes.width)

    def forward(self, states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """Mix tokens (B, 1 + T, D), the class token first; `turns` as `rotary` gives them."""
        query, key, value = (
            part(states).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(_turned(query, turns), _turned(key, turns), value)
        mixed = self.out(self.norm(mixed.transpose(1, 2).flatten(2)))
        return cast(Tensor, mixed)

    def alone(self, states: Tensor) -> Tensor:
        """Every token as if it looked at itself only."""
        return cast(Tensor, self.out(self.norm(self.value(states))))


class SwiGlu(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, sizes: Eva02Sizes) -> None:
        super().__init__()
        self.gate = nn.Linear(sizes.width, sizes.inner)
        self.rise = nn.Linear(sizes.width, sizes.inner)
        self.norm = nn.LayerNorm(sizes.inner, _EPSILON)
        self.fall = nn.Linear(sizes.inner, sizes.width)

    def forward(self, states: Tensor) -> Tensor:
        """Tokens (..., D), each by itself."""
        made = self.fall(self.norm(F.silu(self.gate(states)) * self.rise(states)))
        return cast(Tensor, made)


class Block(nn.Module):
    """Attention and SwiGLU, each after a norm."""

    def __init__(self, sizes: Eva02Sizes) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(sizes.width, _EPSILON)
        self.attention = Attention(sizes)
        self.inner_norm = nn.LayerNorm(sizes.width, _EPSILON)
        self.inner = SwiGlu(sizes)

    def forward(self, states: Tensor, turns: tuple[Tensor, Tensor] | None) -> Tensor:
        """Tokens (B, 1 + T, D); without `turns` none of them looks at another."""
        normed = self.attention_norm(states)
        mixed = self.attention.alone(normed) if turns is None else self.attention(normed, turns)
        states = states + mixed
        return cast(Tensor, states + self.inner(self.inner_norm(states)))


class Eva02(nn.Module):
    """The tower; its methods take pictures (B, 3, H, W) as the checkpoint wants them normalised."""

    def __init__(self, sizes: Eva02Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        side = sizes.image_size // sizes.patch_size
        self.patches = nn.Conv2d(3, sizes.width, sizes.patch_size, sizes.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + side * side, sizes.width))
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width, _EPSILON)
        self.head = nn.Linear(sizes.width, sizes.projection)
        for value in (self.class_token, self.positions):
            nn.init.trunc_normal_(value, std=0.02)
        self.apply(_initialize)

    @property
    def idle(self) -> tuple[nn.Module, ...]:
        """Parts of the blocks that features of patches do without."""
        last = cast(Block, self.blocks[-1]).attention
        return last.query, last.key

    def dense(self, pixels: Tensor) -> Tensor:
        """Features (B, h, w, P) of every patch in the space of texts."""
        states, (height, width) = self._states(pixels, alone=True)
        return cast(Tensor, self.head(self.norm(states[:, 1:])).unflatten(1, (height, width)))

    def embed(self, pixels: Tensor) -> Tensor:
        """Features (B, P) of whole pictures in the space of texts."""
        return cast(Tensor, self.head(self.norm(self._states(pixels, alone=False)[0][:, 0])))

    def _states(self, pixels: Tensor, *, alone: bool) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, 1 + T, D) after the last block, and the grid (h, w) of the patches."""
        patches = self.patches(pixels)
        height, width = patches.shape[2:]
        first = self.class_token.expand(len(pixels), -1, -1)
        states = torch.cat([first, patches.flatten(2).transpose(1, 2)], 1)
        states = states + self._positions(height, width)
        turns = rotary(height, width, self.sizes.width // self.sizes.heads, states.device)
        for block in self.blocks[:-1]:
            states = block(states, turns)
        return self.blocks[-1](states, None if alone else turns), (height, width)

    def _positions(self, height: int, width: int) -> Tensor:
        """Learnt positions (1, 1 + h * w, D), resized bicubically for another grid."""
        side = self.sizes.image_size // self.sizes.patch_size
        if (height, width) == (side, side):
            return self.positions
        table = self.positions[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        resized = F.interpolate(table.float(), (height, width), mode="bicubic")
        return torch.cat([self.positions[:, :1], resized.flatten(2).transpose(1, 2)], 1)


def rotary(height: int, width: int, channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (h * w, channels) of rotary positions.

    Half of the channels turn with the row, half with the column, in neighbouring pairs.
    """
    half = channels // 2
    rates = 1.0 / _THETA ** (torch.arange(0, half, 2, device=device).float() / half)
    angles = [
        (torch.arange(n, device=device).float() / n * _ROTARY_SIDE)[:, None]
        * rates.repeat_interleave(2)
        for n in (height, width)
    ]
    rows = angles[0][:, None].expand(height, width, half)
    columns = angles[1][None].expand(height, width, half)
    both = torch.cat([rows, columns], 2).flatten(0, 1)
    return both.cos(), both.sin()


def _turned(states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Queries or keys (B, heads, 1 + T, d) with all but the class token turned."""
    first, rest = states[:, :, :1], states[:, :, 1:]
    cosine, sine = (turn.to(rest.dtype) for turn in turns)
    pairs = rest.reshape(*rest.shape[:3], -1, 2)
    swapped = torch.stack([-pairs[..., 1], pairs[..., 0]], -1).flatten(3)
    return torch.cat([first, rest * cosine + swapped * sine], 2)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
