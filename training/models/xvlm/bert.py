"""Layers of BERT (Devlin et al., NAACL 2019), some of which look at states of another width.

The library's BERT looks at states of its own width alone, and its BLIP, which does not, ignores
the mask over what it looks at (transformers 5.23): a region would see its whole image.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-12
"""Of all norms, as in BERT."""


class Attention(nn.Module):
    """Multi-head attention, added to its input and normalised."""

    def __init__(self, width: int, heads: int, dropout: float, seen: int | None = None) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(seen or width, width)
        self.value = nn.Linear(seen or width, width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(
        self, states: Tensor, seen: Tensor, mask: Tensor, shown: list[Tensor] | None = None
    ) -> Tensor:
        """States (R, L, H) after a look at `seen` (R, K, D), of which `mask` (R, K) counts.

        The probabilities (R, heads, L, K) are appended to `shown`, if it is there.
        """
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(states), self.key(seen), self.value(seen))
        )
        kept = mask.bool()[:, None, None]
        dropout = self.dropout if self.training else 0.0
        if shown is None:
            found = F.scaled_dot_product_attention(query, key, value, kept, dropout)
        else:
            scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
            shown.append(scores.masked_fill(~kept, -math.inf).softmax(-1))
            found = F.dropout(shown[-1], dropout) @ value
        mixed = self.out(found.transpose(1, 2).flatten(2))
        return _added(self.norm, states, F.dropout(mixed, dropout))


class Layer(nn.Module):
    """A layer; with `seen`, the width of other states, it looks at those too."""

    def __init__(
        self, width: int, inner: int, heads: int, dropout: float, seen: int | None = None
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.cross = None if seen is None else Attention(width, heads, dropout, seen)
        self.rise = nn.Linear(width, inner)
        self.fall = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = dropout

    def forward(
        self,
        states: Tensor,
        mask: Tensor,
        seen: Tensor | None = None,
        seen_mask: Tensor | None = None,
        shown: list[Tensor] | None = None,
    ) -> Tensor:
        """States (R, L, H), of which `mask` (R, L) counts, through the layer.

        The others are those of `Attention`, for the states that are looked at.
        """
        states = self.attention(states, states, mask)
        if self.cross is not None:
            states = self.cross(states, seen, seen_mask, shown)
        mixed = self.fall(F.gelu(self.rise(states)))
        dropout = self.dropout if self.training else 0.0
        return _added(self.norm, states, F.dropout(mixed, dropout))


class Embeddings(nn.Module):
    """Words and their places."""

    def __init__(self, vocabulary: int, positions: int, width: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """States (R, L, H) of tokens (R, L)."""
        placed = self.words(tokens) + self.positions.weight[: tokens.shape[1]]
        states: Tensor = self.dropout(self.norm(placed))
        return states


def initialize(module: nn.Module, std: float) -> None:
    """BERT's start: normal weights of a deviation, no biases; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def _added(norm: nn.LayerNorm, states: Tensor, more: Tensor) -> Tensor:
    total: Tensor = norm(states + more)
    return total
