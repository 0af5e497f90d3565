"""Transformer layers of the image and the text encoder, and the normalisation of projections."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.distributed import gather


class Attention(nn.Module):
    """Multi-head attention of states to themselves, or to others of the same width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, states: Tensor, seen: Tensor | None = None, causal: bool = False) -> Tensor:
        """States (B, L, D) after a look at `seen` (B, N, D), by default at themselves."""
        looked = states if seen is None else seen
        query, key, value = (
            self._split(part) for part in (self.query(states), self.key(looked), self.value(looked))
        )
        found = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        mixed: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return mixed

    def probabilities(self, states: Tensor) -> Tensor:
        """How much every state looks at every other: (B, heads, L, L), rows sum to 1."""
        query, key = self._split(self.query(states)), self._split(self.key(states))
        scores: Tensor = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return scores.softmax(-1)

    def _split(self, states: Tensor) -> Tensor:
        return states.reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)


class QuickGelu(nn.Module):
    """The sigmoid approximation of GELU that CLIP's text encoder has."""

    def forward(self, states: Tensor) -> Tensor:
        return states * torch.sigmoid(1.702 * states)


def mlp(width: int, inner: int, out: int, *, quick: bool = False) -> nn.Sequential:
    """Two linear layers over the last axis: `width` to `inner` to `out`."""
    activation = QuickGelu() if quick else nn.GELU()
    return nn.Sequential(nn.Linear(width, inner), activation, nn.Linear(inner, out))


class Block(nn.Module):
    """A layer that normalises before attention and before its MLP, of four times the width.

    `drop_path`: how often a sample skips each of both in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        drop_path: float = 0.0,
        causal: bool = False,
        quick: bool = False,
    ) -> None:
        super().__init__()
        self.causal, self.drop_path = causal, drop_path
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = mlp(width, 4 * width, width, quick=quick)

    def forward(self, states: Tensor) -> Tensor:
        """States (B, L, D) after attention and MLP."""
        looked = self.attention(self.norm_1(states), causal=self.causal)
        states = states + self._dropped(looked)
        return states + self._dropped(self.mlp(self.norm_2(states)))

    def _dropped(self, states: Tensor) -> Tensor:
        if not (self.training and self.drop_path):
            return states
        kept = torch.rand(len(states), 1, 1, device=states.device) >= self.drop_path
        return states * kept.to(states.dtype) / (1 - self.drop_path)


class BatchNorm(nn.Module):
    """Batch normalisation (N, D) with the statistics of the rows of all ranks.

    As torch's synchronised one, which CPUs lack.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, states: Tensor) -> Tensor:
        """Normalised rows (N, D), by their own statistics in training."""
        states = states.float()
        mean, variance = self.mean, self.variance
        if self.training:
            mean = gather(states.mean(0)[None]).mean(0)
            variance = gather((states - mean).square().mean(0)[None]).mean(0)
            rows = len(gather(states.detach()[:, :1]))
            with torch.no_grad():
                self.mean.lerp_(mean.detach(), self.momentum)
                spread = variance.detach() * rows / max(rows - 1, 1)
                self.variance.lerp_(spread, self.momentum)
        return (states - mean) * (variance + self.epsilon).rsqrt() * self.weight + self.bias


def projection(width: int, inner: int, out: int) -> nn.Sequential:
    """What brings features (N, width) to the space (N, out) where images and texts are compared."""
    return nn.Sequential(
        nn.Linear(width, inner), BatchNorm(inner), nn.ReLU(), nn.Linear(inner, out)
    )
