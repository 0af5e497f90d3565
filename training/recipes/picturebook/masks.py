"""Train the embedded SAM: box prompts for every object, point prompts for automatic masks.

    python -m training.recipes.picturebook.masks --out RUN --export DIR

A real `SamModel` in miniature (160 px, patch 8, masks on an 80 x 80 grid). What makes it learn in
minutes: one image embedding serves many prompts; throw-away heads on that embedding predict the
class, colour and box of the object under every cell and the borders between objects; the mask
loss looks mostly into a window round the box; targets are area-averaged, so borders are soft.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor
from transformers.models.sam.configuration_sam import (
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from training.recipes.picturebook import recipe
from training.recipes.picturebook.mask_scores import score
from training.recipes.picturebook.mask_targets import (
    BOXES,
    CLASSES,
    GRID,
    HUES,
    MASK,
    SIZE,
    Batch,
    make_batch,
)
from training.recipes.picturebook.recipe import Phase, Recipe
from training.recipes.picturebook.state import Schedule

PATCH = 8


def build() -> SamModel:
    """A tiny SamModel with usable initial weights."""
    width = 64  # of the decoder, which every prompt pays for
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=128,
            output_channels=width,
            num_hidden_layers=5,
            num_attention_heads=4,
            image_size=SIZE,
            patch_size=PATCH,
            initializer_range=0.02,  # the default, 1e-10, is meant for loaded weights
            mlp_ratio=3.0,
            use_rel_pos=False,
            window_size=10,
            global_attn_indexes=[3],
            num_pos_feats=width // 2,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=width, image_size=SIZE, patch_size=PATCH
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=width,
            mlp_dim=128,
            num_attention_heads=4,
            iou_head_hidden_dim=64,
        ),
    )
    # Attention between 400 cells and 7 tokens: the plain form trains twice as fast on a CPU.
    config._attn_implementation = "eager"
    model = SamModel(config)
    _place(model)
    return model


@torch.no_grad()
def _place(model: SamModel) -> None:
    """Start values of the position codes; those of prompts stay as they are."""
    model.shared_image_embedding.positional_embedding.normal_(std=1.0)
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(
        model.shared_image_embedding.positional_embedding
    )
    position = model.vision_encoder.pos_embed
    assert position is not None
    position.copy_(_sine_cosine(position.shape[-1])[None] * 0.15)
    model.shared_image_embedding.positional_embedding.requires_grad_(False)
    model.prompt_encoder.shared_embedding.positional_embedding.requires_grad_(False)


def _sine_cosine(width: int) -> Tensor:
    """Fixed two-dimensional position code (GRID, GRID, width)."""
    place = torch.arange(GRID).float()[:, None] / GRID
    angle = place * (np.pi * 2.0 ** torch.linspace(0, 4, width // 4))
    code = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows, columns = code[:, None].expand(-1, GRID, -1), code[None].expand(GRID, -1, -1)
    return torch.cat([rows, columns], dim=2)


def processor() -> SamProcessor:
    """The processor that belongs to `build()`."""
    return SamProcessor(
        SamImageProcessorPil(
            size={"longest_edge": SIZE},
            mask_size={"longest_edge": MASK},
            pad_size={"height": SIZE, "width": SIZE},
            mask_pad_size={"height": MASK, "width": MASK},
        )
    )


class Student(nn.Module):
    """SAM with throw-away heads on its image embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.sam = build()
        width = self.sam.config.vision_config.output_channels
        self.sizes = [len(CLASSES), len(HUES), 4, 3 * (MASK // GRID) ** 2]
        self.heads = nn.Conv2d(width, sum(self.sizes), 1)

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Box masks (B, P, 1, M, M) and IoUs, point masks (B, P, 3, M, M) and IoUs, embedding."""
        sam = self.sam
        with torch.autocast(batch.pixels.device.type, enabled=False):
            # Phases need more than the 8 bits of bfloat16.
            by_box, dense = sam.prompt_encoder(None, None, batch.boxes.float(), None)
            labels = torch.ones_like(batch.points[..., 0], dtype=torch.int)
            by_point, _ = sam.prompt_encoder(batch.points.float(), labels, None, None)
            position = sam.get_image_wide_positional_embeddings()
        position = position.repeat(len(batch.pixels), 1, 1, 1)
        embedding = sam.vision_encoder(batch.pixels).last_hidden_state
        decode = sam.mask_decoder
        # Some box prompts train the three-mask outputs too, so both ways of calling work.
        several = bool(torch.rand(()) < 0.2)
        boxes = decode(embedding, position, by_box, dense, several)
        points = decode(embedding, position, by_point, dense, True)
        return (*boxes, *points, embedding)


def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Mask, IoU and per-cell losses with their total."""
    assert isinstance(model, Student)
    box_masks, box_ious, point_masks, point_ious, embedding = model(batch)
    boxes = _mask_loss(box_masks.float(), box_ious.float(), batch, slice(0, BOXES))
    points = _mask_loss(point_masks.float(), point_ious.float(), batch, slice(BOXES, None))
    cells = _cell_loss(model.heads(embedding).float(), model.sizes, batch)
    total = boxes[0] + 0.6 * points[0] + 0.5 * (boxes[1] + points[1]) + batch.strength * cells
    return {
        "loss": total,
        "box": boxes[0],
        "point": points[0],
        "box_iou": boxes[2],
        "point_iou": points[2],
        "cells": cells,
    }


def _mask_loss(logits: Tensor, guess: Tensor, batch: Batch, part: slice) -> tuple[Tensor, ...]:
    """Windowed cross entropy + dice of the best mask, error of the IoU guess, mean best IoU."""
    target = batch.masks[:, part, None].expand_as(logits)
    window = batch.windows[:, part, None]
    outside = 1.0 - window
    weight = 0.8 * window / window.sum((-1, -2), keepdim=True)
    weight = weight + 0.2 * outside / outside.sum((-1, -2), keepdim=True).clamp(min=1.0)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (entropy * weight).sum((-1, -2))
    chance = logits.sigmoid()
    both, total = (chance * target).sum((-1, -2)), (chance + target).sum((-1, -2))
    each = 2.0 * entropy + (1.0 - (2.0 * both + 1.0) / (total + 1.0))
    with torch.no_grad():
        hard, truth = logits > 0, target > 0.5
        inter = (hard & truth).sum((-1, -2)).float()
        union = (hard | truth).sum((-1, -2)).clamp(min=1).float()
        iou = inter / union
    best = each.min(dim=-1).values
    mask_loss = (0.9 * best + 0.1 * each.mean(-1)).mean()
    return mask_loss, F.mse_loss(guess, iou), iou.amax(-1).mean()


def _cell_loss(out: Tensor, sizes: list[int], batch: Batch) -> Tensor:
    names, hues, boxes, fine = torch.split(out, sizes, dim=1)
    thing = (batch.cells[..., 1] >= 0).float()
    by_name = F.cross_entropy(names, batch.cells[..., 0], reduction="none")
    by_hue = F.cross_entropy(hues, batch.cells[..., 1].clamp(min=0), reduction="none")
    apart = (boxes.permute(0, 2, 3, 1) - batch.cell_boxes).abs().sum(-1)
    weight = 0.3 + thing
    planes = F.pixel_shuffle(fine, MASK // GRID)
    borders = F.binary_cross_entropy_with_logits(planes, batch.fine, reduction="none")
    # Borders are rare: count them four times.
    borders = (borders * (1.0 + 3.0 * (1.0 - batch.fine) * _border_planes(batch.fine))).mean()
    return (
        (by_name * weight).mean() * 0.5
        + (by_hue * thing).mean()
        + (apart * weight).mean() * 2.0
        + borders * 2.0
    )


def _border_planes(fine: Tensor) -> Tensor:
    """1 for the two neighbour planes, 0 for the thing plane."""
    return torch.tensor([0.0, 1.0, 1.0], device=fine.device).view(1, 3, 1, 1)


def batch(step: int, phase: Phase, run: Path) -> Batch:
    """New scenes at every step."""
    return make_batch(step, phase.schedule.batch_size, phase.schedule.steps)


RECIPE = Recipe(
    name="sam",
    module="masks",
    phases=(Phase("all", Schedule(2600, 8, 1.3e-3, ema=0.998)),),
    model=lambda phase: Student(),
    batch=batch,
    loss=loss,
    exported=lambda student: student.sam,
    processor=processor,
    score=lambda sam, count: score(sam, processor(), count),
    cases=100,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    recipe.main((RECIPE,), __doc__ or "", arguments)


if __name__ == "__main__":
    main()
