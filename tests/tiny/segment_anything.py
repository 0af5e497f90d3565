"""A hand-written stand-in for the package `segment_anything`: its registry and its model's calls.

It sees nothing. A box prompt gives the mask of that box, a point three squares around the point,
so that a test knows where a mask has to be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 64
GRID = 32
RADII = (4.0, 8.0, 16.0)


class ImageEncoder(nn.Module):
    """Pixels (b, 3, 64, 64) to (b, 4, 4, 4)."""

    img_size = SIDE

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 4, width))
        self.neck = nn.Conv2d(3, 4, 16, 16)

    def forward(self, pixels: Tensor) -> Tensor:
        assert pixels.shape[1:] == (3, SIDE, SIDE)
        found: Tensor = self.neck(pixels)
        return found


class PromptEncoder(nn.Module):
    """Prompts as they are, (n, 1, 4): a box, or a point twice."""

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert masks is None and (points is None) != (boxes is None)
        if points is None:
            assert boxes is not None
            sparse = boxes[:, None]
        else:
            coords, labels = points
            assert coords.shape[:2] == labels.shape and bool((labels == 1).all())
            sparse = coords.repeat(1, 1, 2)
        assert sparse.dtype == torch.float32
        return sparse, torch.zeros(len(sparse), 4, 4, 4)

    def get_dense_pe(self) -> Tensor:
        return torch.zeros(1, 4, 4, 4)


class MaskDecoder(nn.Module):
    """Logits +4 inside and -4 outside; the quality is the mean of what the encoder saw."""

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        assert image_embeddings.shape == image_pe.shape == (1, 4, 4, 4)
        assert image_embeddings.dtype == torch.float32
        grown = torch.tensor(RADII if multimask_output else (0.0,))[None, :, None]
        boxes = sparse_prompt_embeddings + grown * torch.tensor([-1.0, -1.0, 1.0, 1.0])
        at = (torch.arange(GRID) + 0.5) * SIDE / GRID
        x1, y1, x2, y2 = (side[..., None] for side in boxes.unbind(-1))
        across, down = (at > x1) & (at < x2), (at > y1) & (at < y2)
        inside = down[..., :, None] & across[..., None, :]
        quality = image_embeddings.mean().sigmoid().expand(boxes.shape[:2])
        return inside.float() * 8 - 4, quality


class Model(nn.Module):
    """What a builder of the registry returns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(width)
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()

    def preprocess(self, x: Tensor) -> Tensor:
        return functional.pad(x / 255, (0, SIDE - x.shape[-1], 0, SIDE - x.shape[-2]))


class Package:
    """The module."""

    sam_model_registry: dict[str, Callable[[], Any]] = {  # noqa: RUF012  # as in the package
        "vit_b": lambda: Model(768),
        "vit_l": lambda: Model(1024),
        "vit_h": lambda: Model(1280),
    }
