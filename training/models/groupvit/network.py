"""The network: an image encoder that groups, a causal text encoder, and where both meet.

Sizes are those of the paper and its published code. Without `groups` the image encoder is a plain
ViT with a class token, the baseline of the supplement's tables 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.groupvit.grouping import Grouping
from training.models.groupvit.layers import Block, mlp, projection
from training.models.xvlm.network import waves

HOTTEST = 100.0
"""Similarities are multiplied by no more than this."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults are the published ones, 55.7 million parameters.

    `depths`: layers before each grouping block and after the last; `groups`: groups that each
    leaves. `sharpness`: see `grouping.Assignment`. `std` of the weights of the image encoder as
    they are drawn. `waves`: positions begin as sines of rows and columns. `apart`: group tokens of
    all stages begin as far apart as patches are, with a deviation of 1, where the published ones
    are drawn with `std` in the first stage and are zero after it.
    """

    image_size: int = 224
    patch_size: int = 16
    width: int = 384
    heads: int = 6
    depths: tuple[int, ...] = (6, 3, 3)
    groups: tuple[int, ...] = (64, 8)
    drop_path: float = 0.1
    sharpness: float = 1.0
    std: float = 0.02
    waves: bool = False
    apart: bool = False
    vocabulary: int = 49_408
    tokens: int = 77
    text_width: int = 256
    text_heads: int = 4
    text_layers: int = 12
    inner: int = 4096
    projection: int = 256
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.groups) + 1:
            raise ValueError("depths must have one number more than groups: layers after the last")

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class Seen:
    """Images as the encoder sees them: features (B, D); segments (B, G, D) of the last grouping
    block, none of a plain ViT; and the soft assignment (B, G, N) of every block, to whose groups
    (columns sum to 1) the segments before it belong, first of all the patches."""

    features: Tensor
    segments: Tensor
    assignments: tuple[Tensor, ...] = ()


class Stage(nn.Module):
    """Layers over segments and group tokens, and the grouping block after them."""

    def __init__(self, sizes: Architecture, number: int) -> None:
        super().__init__()
        done, count = sum(sizes.depths[:number]), sum(sizes.depths)
        self.blocks = nn.ModuleList(
            Block(
                sizes.width,
                sizes.heads,
                drop_path=sizes.drop_path * (done + n) / max(count - 1, 1),
            )
            for n in range(sizes.depths[number])
        )
        groups = sizes.groups[number] if number < len(sizes.groups) else 0
        before = sizes.groups[number - 1] if number else 0
        self.group_token = nn.Parameter(torch.zeros(1, groups, sizes.width)) if groups else None
        # Later groups begin as mixtures of what the groups before them have become.
        self.norm = nn.LayerNorm(sizes.width) if groups and before else None
        self.mix = mlp(before, sizes.width // 2, groups) if groups and before else None
        self.grouping = (
            Grouping(sizes.width, sizes.heads, groups, sizes.sharpness) if groups else None
        )

    def forward(
        self, segments: Tensor, before: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Segments (B, N, D) after this stage, its group tokens (B, G, D) and the soft assignment
        (B, G, N); None of a stage without groups. `before`: group tokens of the last stage."""
        count, states = segments.shape[1], segments
        if self.group_token is not None:
            tokens = self.group_token.expand(len(segments), -1, -1)
            if before is not None and self.mix is not None and self.norm is not None:
                tokens = tokens + self.mix(self.norm(before).transpose(1, 2)).transpose(1, 2)
            states = torch.cat([segments, tokens], 1)
        for block in self.blocks:
            states = block(states)
        if self.grouping is None:
            return states, None, None
        groups = states[:, count:]
        found, soft = self.grouping(states[:, :count], groups)
        return found, groups, soft


class Vision(nn.Module):
    """The image encoder."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.grid, width = sizes.grid, sizes.width
        self.patches = nn.Conv2d(3, width, sizes.patch_size, sizes.patch_size)
        self.patch_norm = nn.LayerNorm(width)
        self.positions = nn.Parameter(torch.zeros(1, sizes.grid**2, width))
        self.class_token = None if sizes.groups else nn.Parameter(torch.zeros(1, 1, width))
        self.stages = nn.ModuleList(Stage(sizes, number) for number in range(len(sizes.depths)))
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Seen:
        """Look at images (B, 3, H, W), whose sides are whole numbers of patches."""
        states = self._embedded(pixels)
        tokens: Tensor | None = None
        assignments: list[Tensor] = []
        for stage in self.stages:
            states, tokens, soft = stage(states, tokens)
            if soft is not None:
                assignments.append(soft)
        states = self.norm(states)
        if self.class_token is not None:
            return Seen(states[:, 0], states[:, :0])
        return Seen(states.mean(1), states, tuple(assignments))

    def class_attention(self, pixels: Tensor) -> Tensor:
        """How much the class token of a plain ViT looks at the patches in its last layer, by head:
        (B, heads, T). Raises ValueError for an encoder that groups."""
        if self.class_token is None:
            raise ValueError("an encoder that groups has no class token")
        *first, last = cast(Stage, self.stages[-1]).blocks
        states = self._embedded(pixels)
        for block in first:
            states = block(states)
        final = cast(Block, last)
        return final.attention.probabilities(final.norm_1(states))[:, :, 0, 1:]

    def _embedded(self, pixels: Tensor) -> Tensor:
        found = self.patches(pixels)
        height, width = found.shape[-2:]
        positions: Tensor = self.positions
        if (height, width) != (self.grid, self.grid):
            table = positions.transpose(1, 2).reshape(1, -1, self.grid, self.grid)
            resized = F.interpolate(table, (height, width), mode="bicubic", align_corners=False)
            positions = resized.flatten(2).transpose(1, 2)
        states: Tensor = self.patch_norm(found.flatten(2).transpose(1, 2)) + positions
        if self.class_token is None:
            return states
        return torch.cat([self.class_token.expand(len(states), -1, -1), states], 1)


class Text(nn.Module):
    """The text encoder: a causal transformer, read at the last token of a text."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.words = nn.Embedding(sizes.vocabulary, sizes.text_width)
        self.positions = nn.Parameter(torch.zeros(sizes.tokens, sizes.text_width))
        self.blocks = nn.ModuleList(
            Block(sizes.text_width, sizes.text_heads, causal=True, quick=True)
            for _ in range(sizes.text_layers)
        )
        self.norm = nn.LayerNorm(sizes.text_width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Features (R, D) of texts: tokens (R, L), mask (R, L) 1 for tokens and 0 after them."""
        states = self.words(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states)
        last = mask.sum(1) - 1
        return cast(Tensor, self.norm(states[torch.arange(len(states)), last]))


class GroupVit(nn.Module):
    """Both encoders, their projections, and the temperatures of the two losses."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.sizes = sizes
        self.vision, self.text = Vision(sizes), Text(sizes)
        self.image_projection = projection(sizes.width, sizes.inner, sizes.projection)
        self.text_projection = projection(sizes.text_width, sizes.inner, sizes.projection)
        start = -torch.tensor([sizes.temperature]).log()  # (1,): FSDP cuts no scalars
        self.scale, self.words_scale = nn.Parameter(start), nn.Parameter(start.clone())
        if start.device.type != "meta":
            _initialize(self)

    def project_images(self, features: Tensor) -> Tensor:
        """Unit vectors (N, P) of features (N, D) of images, or of segments."""
        return _unit(self.image_projection, features)

    def project_texts(self, features: Tensor) -> Tensor:
        """Unit vectors (N, P) of features (N, D) of texts."""
        return _unit(self.text_projection, features)

    def scales(self) -> tuple[Tensor, Tensor]:
        """What similarities are multiplied by: with captions, and with words. Each (1,)."""
        return self.scale.exp().clamp(max=HOTTEST), self.words_scale.exp().clamp(max=HOTTEST)


def parameter_count(sizes: Architecture) -> int:
    """Parameters of the network, counted without memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in GroupVit(sizes).parameters())


def _unit(head: nn.Module, features: Tensor) -> Tensor:
    """In full precision, where the rest is computed in half of it: they are divided by little."""
    with torch.autocast(features.device.type, enabled=False):
        return F.normalize(head(features.float()), dim=-1)


@torch.no_grad()
def _initialize(model: GroupVit) -> None:
    """Weights as the published code draws them, but for `waves` and `apart`."""
    sizes = model.sizes
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=sizes.std)
            nn.init.zeros_(module.bias)
    first = cast(Stage, model.vision.stages[0])
    for table in (model.vision.positions, model.vision.class_token, first.group_token):
        if table is not None:
            nn.init.trunc_normal_(table, std=sizes.std)
    if sizes.waves:
        places = waves(sizes.grid, sizes.width)
        # What all of them share would make one group the best for every patch.
        model.vision.positions.copy_((places - places.mean(0))[None])
    for stage in (cast(Stage, stage) for stage in model.vision.stages):
        if sizes.apart and stage.group_token is not None:
            nn.init.normal_(stage.group_token)
    _initialize_text(model.text, sizes)


def _initialize_text(text: Text, sizes: Architecture) -> None:
    """As CLIP's text encoder."""
    width = sizes.text_width
    nn.init.normal_(text.words.weight, std=0.02)
    nn.init.normal_(text.positions, std=0.01)
    deep = (2 * width * sizes.text_layers) ** -0.5
    for block in (cast(Block, block) for block in text.blocks):
        for part in (block.attention.query, block.attention.key, block.attention.value):
            nn.init.normal_(part.weight, std=width**-0.5)
        nn.init.normal_(block.attention.out.weight, std=deep)
        nn.init.normal_(cast(nn.Linear, block.mlp[0]).weight, std=(2 * width) ** -0.5)
        nn.init.normal_(cast(nn.Linear, block.mlp[2]).weight, std=deep)
