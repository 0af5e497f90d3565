"""The transformer of DETR (arXiv:2005.12872, appendix A.3), by the names of its published weights.

Norms come after each sum; what says where a token is goes into queries and keys, never into values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]

HEADS = 8
"""Of every attention; no shape tells their number."""
_ROOT = "transformer"
_TEMPERATURE = 10_000
_EPS = 1e-5


def positions(height: int, width: int, channels: int) -> Tensor:
    """Where each of (height, width) image tokens is: (height * width, channels), row by row.

    Half of the channels are sines and cosines of the row, half of the column; rows and columns
    are counted from 1 and scaled so that the last one is at 2 pi.
    """
    import torch

    half = channels // 2
    wave = _TEMPERATURE ** (2 * (torch.arange(half) // 2) / half)

    def along(count: int) -> Tensor:
        angles = torch.arange(1, count + 1) / (count + 1e-6) * 2 * math.pi
        turns = angles[:, None] / wave
        return torch.stack([turns[:, 0::2].sin(), turns[:, 1::2].cos()], dim=2).flatten(1)

    rows = along(height)[:, None].expand(height, width, half)
    columns = along(width)[None].expand(height, width, half)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def encode(weights: Weights, tokens: Tensor, places: Tensor, real: Tensor, layers: int) -> Tensor:
    """Image and text tokens that have seen each other.

    Args:
        weights: by published key.
        tokens: (b, n, d).
        places: (b, n, d); 0 where a token is text.
        real: (b, n), false where a row of the batch is only filled up.
        layers: how many there are.
    """
    for layer in range(layers):
        name = f"{_ROOT}.encoder.layers.{layer}"
        placed = tokens + places
        seen = attend(weights, f"{name}.self_attn", placed, placed, tokens, real)
        tokens = norm(weights, f"{name}.norm1", tokens + seen)
        tokens = norm(weights, f"{name}.norm2", tokens + _forward(weights, name, tokens))
    return tokens


def decode(
    weights: Weights, memory: Tensor, places: Tensor, real: Tensor, queries: Tensor, layers: int
) -> Tensor:
    """What each of the queries (q, d) found among the encoded tokens: (b, q, d)."""
    import torch

    asked = queries.expand(len(memory), *queries.shape)
    found, placed = torch.zeros_like(asked), memory + places
    for layer in range(layers):
        name = f"{_ROOT}.decoder.layers.{layer}"
        known = found + asked
        seen = attend(weights, f"{name}.self_attn", known, known, found)
        found = norm(weights, f"{name}.norm1", found + seen)
        seen = attend(weights, f"{name}.cross_attn_image", found + asked, placed, memory, real)
        found = norm(weights, f"{name}.norm3", found + seen)
        found = norm(weights, f"{name}.norm4", found + _forward(weights, name, found))
    return norm(weights, f"{_ROOT}.decoder.norm", found)


def attend(
    weights: Weights,
    name: str,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    real: Tensor | None = None,
) -> Tensor:
    """Attention of several heads: (b, q, d) from (b, q, d), (b, n, d) and (b, n, d).

    Keys that are not `real` (b, n) are not looked at.
    """
    import torch.nn.functional as F

    joint = zip(
        (queries, keys, values),
        weights[f"{name}.in_proj_weight"].chunk(3),
        weights[f"{name}.in_proj_bias"].chunk(3),
        strict=True,
    )
    q, k, v = (
        F.linear(rows, weight, bias).reshape(*rows.shape[:2], HEADS, -1).transpose(1, 2)
        for rows, weight, bias in joint
    )
    mask = None if real is None else real[:, None, None]
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return linear(weights, f"{name}.out_proj", seen.transpose(1, 2).flatten(2))


def linear(weights: Weights, name: str, rows: Tensor) -> Tensor:
    """A linear layer by its name."""
    import torch.nn.functional as F

    return F.linear(rows, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(weights: Weights, name: str, rows: Tensor, eps: float = _EPS) -> Tensor:
    """A layer norm by its name."""
    import torch.nn.functional as F

    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return F.layer_norm(rows, weight.shape, weight, bias, eps)


def _forward(weights: Weights, name: str, rows: Tensor) -> Tensor:
    return linear(weights, f"{name}.linear2", linear(weights, f"{name}.linear1", rows).relu())
