"""What published models are fed when they are measured: random pixels, and prompts of a usual size.

Values decide nothing about speed, shapes do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

Inputs = dict[str, torch.Tensor]
Feed = Callable[[Any, int], Inputs]
"""From a model's configuration and a batch size to its inputs."""

QUERIES = 16
"""Texts per image for models that encode each by itself."""
BOXES = 16
"""Box prompts per image."""
TOKENS = 64
"""Length of a prompt of several labels."""
PHOTOGRAPH = (800, 1088)
"""Pixels of a 3:4 photograph as DETR and Grounding DINO take it."""
SQUARE = 640
"""Pixels of the square that RT-DETR and D-FINE take."""


def pixels(config: Any, batch: int) -> Inputs:
    """Squares of the side that the configuration names."""
    return {"pixel_values": torch.rand(batch, 3, _side(config), _side(config))}


def squares(config: Any, batch: int) -> Inputs:
    """Squares of the side that RT-DETR takes, which its configuration does not name."""
    return {"pixel_values": torch.rand(batch, 3, SQUARE, SQUARE)}


def photographs(config: Any, batch: int) -> Inputs:
    """Photographs as DETR takes them."""
    return {"pixel_values": torch.rand(batch, 3, *PHOTOGRAPH)}


def with_queries(config: Any, batch: int) -> Inputs:
    """Images, and texts of their own for each."""
    text = config.text_config
    ids = torch.randint(1, text.vocab_size - 1, (batch * QUERIES, text.max_position_embeddings))
    # The text tower reads its sentence at the token of the highest id.
    ids[:, -1] = text.vocab_size - 1
    return {**pixels(config, batch), "input_ids": ids, "attention_mask": torch.ones_like(ids)}


def with_prompt(config: Any, batch: int) -> Inputs:
    """Photographs, and a prompt of labels that end in a period."""
    start, period, end = 101, 1012, 102  # BERT's, as the model itself assumes
    ids = torch.randint(2000, 20000, (batch, TOKENS))
    ids[:, 0], ids[:, 2::2], ids[:, -1] = start, period, end
    masks = {"attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    return {**photographs(config, batch), "input_ids": ids, **masks}


def with_boxes(config: Any, batch: int) -> Inputs:
    """Images, and box prompts for each in pixels of the model's square."""
    corners = torch.rand(batch, BOXES, 2) * _side(config) / 2
    return {**pixels(config, batch), "input_boxes": torch.cat([corners, 2 * corners], dim=-1)}


FEEDS: Mapping[str, Feed] = {
    **dict.fromkeys(("OwlViTForObjectDetection", "Owlv2ForObjectDetection"), with_queries),
    **dict.fromkeys(("CLIPModel", "SiglipModel"), with_queries),
    **dict.fromkeys(
        ("GroundingDinoForObjectDetection", "MMGroundingDinoForObjectDetection"), with_prompt
    ),
    **dict.fromkeys(("DetrForObjectDetection", "DeformableDetrForObjectDetection"), photographs),
    **dict.fromkeys(("RTDetrV2ForObjectDetection", "DFineForObjectDetection"), squares),
    **dict.fromkeys(("SamModel", "SamHQModel", "Sam2Model"), with_boxes),
    "DPTForDepthEstimation": pixels,
    "DepthAnythingForDepthEstimation": pixels,
    "ZoeDepthForDepthEstimation": pixels,
}
"""Class -> its inputs."""


def _side(config: Any) -> int:
    for part in ("vision_config", "prompt_encoder_config", "backbone_config"):
        side = getattr(getattr(config, part, None), "image_size", None)
        if side:
            return int(side if isinstance(side, int) else side[0])
    return int(config.image_size)
