"""The network of X-VLM: a Swin for images, six layers of BERT for texts, six more that fuse both.

Sizes are those of the paper's section 4.2. A visual concept is a set of patches of the last Swin
stage with their mean before them (section 3.2): one pass over an image serves all its concepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SwinConfig, SwinModel

from training.models.xvlm.bert import EPSILON, Embeddings, Layer, initialize

COOLEST, HOTTEST = 0.001, 0.5
"""Bounds of the temperature, which training keeps it inside."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults are the published ones, 215.6 million parameters."""

    image_size: int = 224
    patch_size: int = 4
    window: int = 7
    embed_dim: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    vision_heads: tuple[int, ...] = (4, 8, 16, 32)
    drop_path: float = 0.1
    absolute_positions: bool = False
    """Whether patches carry learned positions, as Swin's own option has it. The published model
    learns places without them, from hundreds of millions of images."""
    vocabulary: int = 30_522
    positions: int = 512
    hidden: int = 768
    inner: int = 3072
    heads: int = 12
    text_layers: int = 6
    fusion_layers: int = 6
    dropout: float = 0.1
    projection: int = 256
    temperature: float = 0.07
    std: float = 0.02
    """Deviation of weights as they are drawn: BERT's, for its width. A narrow network needs more,
    or what it looks at hardly reaches its states."""

    @property
    def grid(self) -> int:
        """Patches of the last stage along one side."""
        return self.image_size // (self.patch_size << (len(self.depths) - 1))

    @property
    def width(self) -> int:
        """Channels of the last stage."""
        return self.embed_dim << (len(self.depths) - 1)


@dataclass(frozen=True)
class Concepts:
    """Visual concepts: states (R, 1 + T, D), the mean first, and which of them count (R, 1 + T)."""

    states: Tensor
    mask: Tensor

    def take(self, rows: Tensor) -> Concepts:
        """Those at `rows` (K,)."""
        return Concepts(self.states[rows], self.mask[rows])


@dataclass(frozen=True)
class Texts:
    """Encoded texts: states (R, L, H), the [CLS] first, and their padding mask (R, L)."""

    states: Tensor
    mask: Tensor

    def take(self, rows: Tensor) -> Texts:
        """Those at `rows` (K,)."""
        return Texts(self.states[rows], self.mask[rows])


@dataclass(frozen=True)
class Fused:
    """States (R, L, H) of fused texts; cross-attention per layer where it was asked for."""

    states: Tensor
    attention: tuple[Tensor, ...] = ()


class Xvlm(nn.Module):
    """The three encoders and the heads; every method takes and gives one step of the objective."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.sizes = sizes
        self.vision = swin(swin_config(sizes))
        size = (sizes.hidden, sizes.inner, sizes.heads, sizes.dropout)
        self.embeddings = Embeddings(sizes.vocabulary, sizes.positions, sizes.hidden, sizes.dropout)
        self.text = nn.ModuleList(Layer(*size) for _ in range(sizes.text_layers))
        self.fusion = nn.ModuleList(Layer(*size, sizes.width) for _ in range(sizes.fusion_layers))
        self.concept_projection = nn.Linear(sizes.width, sizes.projection)
        self.text_projection = nn.Linear(sizes.hidden, sizes.projection)
        self.match_head = _head(sizes.hidden, 2)
        self.box_head = _head(sizes.hidden, 4)
        self.word_head = nn.Sequential(
            nn.Linear(sizes.hidden, sizes.hidden),
            nn.GELU(),
            nn.LayerNorm(sizes.hidden, eps=EPSILON),
        )
        self.word_bias = nn.Parameter(torch.zeros(sizes.vocabulary))
        self.temperature = nn.Parameter(torch.tensor([sizes.temperature]))  # FSDP cuts no scalars
        for name, part in self.named_children():
            if name != "vision":
                part.apply(partial(initialize, std=sizes.std))

    def see(self, pixels: Tensor) -> Tensor:
        """Patches (I, T, D) of images (I, 3, S, S), in rows from the top left."""
        return cast(Tensor, self.vision(pixel_values=pixels).last_hidden_state)

    def read(self, tokens: Tensor, mask: Tensor) -> Texts:
        """Encode texts: tokens (R, L), mask (R, L) 1 for tokens and 0 for padding.

        States of padding are undefined, here and in `fuse`.
        """
        parts = by_length(mask)
        return Texts(
            _together(
                [self._read(tokens[rows, :most], mask[rows, :most]) for rows, most in parts], parts
            ),
            mask,
        )

    def _read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.embeddings(tokens)
        for layer in self.text:
            states = layer(states, mask)
        return states

    def fuse(self, texts: Texts, concepts: Concepts) -> Fused:
        """States (R, L, H) of texts that have looked at concepts, row by row."""
        parts = by_length(texts.mask)
        fused = [
            self._fuse(
                Texts(texts.states[rows, :most], texts.mask[rows, :most]), concepts.take(rows)
            )
            for rows, most in parts
        ]
        return Fused(_together(fused, parts))

    def attend(self, texts: Texts, concepts: Concepts) -> Fused:
        """`fuse`, with the probabilities of the cross-attention of every layer, each
        (R, heads, L, 1 + T), in the graph, so that they have gradients."""
        shown: list[Tensor] = []
        return Fused(self._fuse(texts, concepts, shown), tuple(shown))

    def _fuse(self, texts: Texts, concepts: Concepts, shown: list[Tensor] | None = None) -> Tensor:
        states = texts.states
        for layer in self.fusion:
            states = layer(states, texts.mask, concepts.states, concepts.mask, shown)
        return states

    def project(self, concepts: Concepts, texts: Texts) -> tuple[Tensor, Tensor]:
        """Unit vectors (R, P) of concepts and of texts, by whose product they are similar."""
        return self.project_concepts(concepts), self.project_texts(texts)

    def project_concepts(self, concepts: Concepts) -> Tensor:
        """Unit vectors (R, P) of concepts."""
        return F.normalize(_precise(self.concept_projection, concepts.states[:, 0]), dim=-1)

    def project_texts(self, texts: Texts) -> Tensor:
        """Unit vectors (R, P) of texts."""
        return F.normalize(_precise(self.text_projection, texts.states[:, 0]), dim=-1)

    def match(self, fused: Fused) -> Tensor:
        """Logits (R, 2): does not match, matches."""
        return _precise(self.match_head, fused.states[:, 0])

    def locate(self, fused: Fused) -> Tensor:
        """Boxes (R, 4), cxcywh as fractions of the image (equation 1)."""
        return _precise(self.box_head, fused.states[:, 0]).sigmoid()

    def guess(self, states: Tensor) -> Tensor:
        """Logits (N, V) of the words behind fused states (N, H)."""
        return F.linear(
            self.word_head(states), self.embeddings.words.weight, self.word_bias
        ).float()


def whole(patches: Tensor) -> Concepts:
    """Images (R, T, D) as concepts."""
    return regions(patches, patches.new_ones(patches.shape[:2], dtype=torch.bool))


def regions(patches: Tensor, inside: Tensor) -> Concepts:
    """Parts of images as concepts: patches (R, T, D), of which those `inside` (R, T) belong."""
    share = inside.to(patches.dtype)
    mean = (patches * share[..., None]).sum(1) / share.sum(1).clamp(min=1)[:, None]
    mask = torch.cat([inside.new_ones(len(inside), 1), inside], 1)
    return Concepts(torch.cat([mean[:, None], patches], 1), mask)


def patches_in(boxes: Tensor, grid: int) -> Tensor:
    """Which cells of a `grid` belong to boxes (R, 4) cxcywh in fractions: (R, grid * grid) bool.

    A cell belongs to a box that touches it; a box has at least one cell in each direction.
    """
    middle, sides = boxes[:, :2] * grid, boxes[:, 2:] * grid / 2
    # Edges that stand on a border must not touch the next cell by rounding alone.
    first = (middle - sides + 1e-4).floor().clamp(0, grid - 1)
    last = torch.maximum((middle + sides - 1e-4).ceil().clamp(1, grid), first + 1)
    cells = torch.arange(grid, device=boxes.device)
    held = (cells >= first[..., None]) & (cells < last[..., None])  # (R, 2, grid)
    return (held[:, 1, :, None] & held[:, 0, None, :]).flatten(1)


def parameter_count(sizes: Architecture) -> int:
    """Parameters of the network, counted without memory for them; shared ones once."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Xvlm(sizes).parameters())


def swin_config(sizes: Architecture) -> SwinConfig:
    """The configuration of the vision encoder."""
    return SwinConfig(
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        window_size=sizes.window,
        embed_dim=sizes.embed_dim,
        depths=list(sizes.depths),
        num_heads=list(sizes.vision_heads),
        drop_path_rate=sizes.drop_path,
        use_absolute_embeddings=sizes.absolute_positions,
    )


def swin(config: SwinConfig) -> SwinModel:
    """A Swin with weights as they are drawn; positions, if it has any, begin as waves."""
    model = SwinModel(config, add_pooling_layer=False)
    if config.use_absolute_embeddings:
        table = model.embeddings.position_embeddings
        with torch.no_grad():
            table.copy_(waves(round(table.shape[1] ** 0.5), table.shape[2])[None])
    return model


def waves(side: int, width: int) -> Tensor:
    """Sines and cosines of rows and columns (side * side, width), as positions to begin with."""
    rates = 1 / 100 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)


def by_length(mask: Tensor) -> list[tuple[Tensor, int]]:
    """Rows (r,) of a padding mask (R, L) that go through layers together, and their most tokens.

    A text about a box has a few words and a caption many: together, most of what is computed would
    be padding. Texts of at most half the length are apart from the others. There are two parts even
    where one is empty, because under FSDP all ranks have to call a layer equally often.
    """
    longest = mask.shape[1]
    half = (longest + 1) // 2
    short = mask[:, half:].sum(1) == 0
    return [(short.nonzero()[:, 0], half), ((~short).nonzero()[:, 0], longest)]


def _together(states: Sequence[Tensor], parts: Sequence[tuple[Tensor, int]]) -> Tensor:
    """States (r, l, H) of the parts in one tensor (R, L, H) again, zero where they had none."""
    longest = parts[-1][1]
    wide = torch.cat([F.pad(one, (0, 0, 0, longest - one.shape[1])) for one in states])
    return wide[torch.cat([rows for rows, _ in parts]).argsort()]


def _head(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, 2 * width), nn.LayerNorm(2 * width), nn.GELU(), nn.Linear(2 * width, out)
    )


def _precise(head: nn.Module, states: Tensor) -> Tensor:
    """What a head gives in full precision, where the rest is computed in half of it."""
    with torch.autocast(states.device.type, enabled=False):
        return cast(Tensor, head(states.float()))
