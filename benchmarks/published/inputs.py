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
FLORENCE = 768
"""Pixels of the square that Florence-2 takes, which its configuration does not name."""
QWEN = 72
"""Patches of a side: 1008 pixels where a patch has 14, near the bound that the stages set."""
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


def asked(config: Any, batch: int) -> Inputs:
    """Squares, and a question behind the places of each image (BLIP-2, LLaVA, Florence-2)."""
    side = FLORENCE if config.model_type == "florence2" else _side(config)
    return {
        "pixel_values": torch.rand(batch, 3, side, side),
        **_question(config, batch, _places(config, side), _image_token(config)),
    }


def embedded(config: Any, batch: int) -> Inputs:
    """Squares, and a question in which a mask tells the places of the image (Kosmos-2)."""
    places = config.latent_query_num
    given = {**pixels(config, batch), **_question(config, batch, places, 1)}
    here = torch.zeros_like(given["input_ids"])
    here[:, :places] = 1
    return {**given, "image_embeds_position_mask": here.bool()}


def patched(config: Any, batch: int) -> Inputs:
    """Rows of patches of images of QWEN x QWEN of them, and a question (Qwen)."""
    vision = config.vision_config
    row = 3 * vision.temporal_patch_size * vision.patch_size**2
    places = (QWEN // vision.spatial_merge_size) ** 2
    given = _question(config, batch, places, config.image_token_id)
    return {
        "pixel_values": torch.rand(batch * QWEN**2, row),
        "image_grid_thw": torch.tensor([[1, QWEN, QWEN]] * batch),
        "mm_token_type_ids": (given["input_ids"] == config.image_token_id).int(),
        **given,
    }


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
    "BlipForConditionalGeneration": pixels,
    **dict.fromkeys(
        (
            "Blip2ForConditionalGeneration",
            "LlavaForConditionalGeneration",
            "Florence2ForConditionalGeneration",
        ),
        asked,
    ),
    "Kosmos2ForConditionalGeneration": embedded,
    "Qwen2_5_VLForConditionalGeneration": patched,
    "Qwen3VLForConditionalGeneration": patched,
}
"""Class -> its inputs."""


def _question(config: Any, batch: int, places: int, image_token: int) -> Inputs:
    """Tokens: so many places of an image, then a question of one word over and over."""
    text = getattr(config, "text_config", config)
    word = text.vocab_size - 1 - (image_token == text.vocab_size - 1)
    ids = torch.full((batch, places + TOKENS), word)
    ids[:, :places] = image_token
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _places(config: Any, side: int) -> int:
    """Tokens that stand for an image."""
    if config.model_type == "blip-2":
        return int(config.num_query_tokens)
    if config.model_type == "florence2":
        return (side // 32) ** 2 + 1
    return int((side // config.vision_config.patch_size) ** 2)


def _image_token(config: Any) -> int:
    own = getattr(config, "image_token_id", None)
    return int(config.image_token_index if own is None else own)


def _side(config: Any) -> int:
    for part in ("vision_config", "prompt_encoder_config", "backbone_config"):
        side = getattr(getattr(config, part, None), "image_size", None)
        if side:
            return int(side if isinstance(side, int) else side[0])
    return int(config.image_size)
