"""The grouping block: segments are assigned to fewer groups, each to exactly one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.models.groupvit.layers import Attention, mlp


def assignment(logits: Tensor) -> Tensor:
    """One group for every segment: (B, G, N), one-hot over the groups, from logits (B, G, N).

    The gradient is that of the softmax over the groups (straight-through).
    """
    soft = logits.softmax(1)
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def gumbel(logits: Tensor) -> Tensor:
    """Logits with standard Gumbel noise: the largest is a draw from their softmax."""
    return logits - torch.empty_like(logits).exponential_().log()


class Assignment(nn.Module):
    """The mean of the segments of every group, and to which group each segment belongs.

    `sharpness` multiplies the logits: 1 as published. Narrow networks begin with logits so small
    that the noise decides alone.
    """

    def __init__(self, width: int, sharpness: float) -> None:
        super().__init__()
        self.factor = sharpness * width**-0.5
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, groups: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        """New states (B, G, D) of groups (B, G, D) out of segments (B, N, D), and the soft
        assignment (B, G, N), whose columns sum to 1, without noise.

        A group's mean is over the number of its segments and one more, so an empty one is zero.
        """
        logits = (self.query(groups) @ self.key(segments).transpose(1, 2)).float() * self.factor
        hard = assignment(gumbel(logits) if self.training else logits)
        share = (hard / (hard.sum(2, keepdim=True) + 1)).to(segments.dtype)
        found: Tensor = self.out(share @ self.value(segments))
        return found, logits.softmax(1)


class Grouping(nn.Module):
    """Segments become as many new segments as there are group tokens (the paper's section 3.1)."""

    def __init__(self, width: int, heads: int, groups: int, sharpness: float) -> None:
        super().__init__()
        self.norm_groups, self.norm_segments = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.norm_mixed = mlp(groups, width // 2, groups), nn.LayerNorm(width)
        self.attention, self.mlp = Attention(width, heads), mlp(width, 4 * width, width)
        self.norm_looked, self.norm_ready = nn.LayerNorm(width), nn.LayerNorm(width)
        self.assign = Assignment(width, sharpness)
        self.norm_new, self.channels = nn.LayerNorm(width), mlp(width, 4 * width, width)

    def forward(self, segments: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """New segments (B, G, D) of segments (B, N, D) and group tokens (B, G, D), and the soft
        assignment (B, G, N) of the former."""
        segments = self.norm_segments(segments)
        mixed = self.mix(self.norm_groups(groups).transpose(1, 2)).transpose(1, 2)
        states = self.norm_mixed(mixed)
        states = states + self.attention(states, segments)
        states = self.norm_ready(states + self.mlp(self.norm_looked(states)))
        found, soft = self.assign(states, segments)
        found = found + states
        return found + self.channels(self.norm_new(found)), soft
