"""Segment Anything models at published size. The numbers are those of the authors' configurations.

SAM 2.1 is counted as it is used here, without the memory of its published checkpoints, which only
tracking in videos needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

_VIT: Mapping[str, Mapping[str, Any]] = {
    "base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "global_attn_indexes": [2, 5, 8, 11],
    },
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "global_attn_indexes": [5, 11, 17, 23],
    },
    "huge": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
    },
}
_HIERA: Mapping[str, Mapping[str, Any]] = {
    # Width and heads of the first stage; both double from stage to stage.
    "tiny": {"width": 96, "heads": 1, "blocks": [1, 2, 7, 2], "whole": [5, 7, 9]},
    "small": {"width": 96, "heads": 1, "blocks": [1, 2, 11, 2], "whole": [7, 10, 13]},
    "base-plus": {
        "width": 112,
        "heads": 2,
        "blocks": [2, 3, 16, 3],
        "whole": [12, 16, 20],
        "background": [14, 14],
    },
    "large": {
        "width": 144,
        "heads": 2,
        "blocks": [2, 6, 36, 4],
        "whole": [23, 33, 43],
        "windows": [8, 4, 16, 8],
    },
}


def sam(size: str) -> Any:
    """SAM on a ViT of `size`."""
    from transformers import SamConfig, SamModel, SamVisionConfig

    return SamModel(SamConfig(vision_config=SamVisionConfig(**_VIT[size])))


def sam_hq(size: str) -> Any:
    """SAM-HQ on a ViT of `size`."""
    from transformers import SamHQConfig, SamHQMaskDecoderConfig, SamHQModel, SamHQVisionConfig

    vision = SamHQVisionConfig(**_VIT[size])
    decoder = SamHQMaskDecoderConfig(vit_dim=vision.hidden_size)
    return SamHQModel(SamHQConfig(vision_config=vision, mask_decoder_config=decoder))


def sam2(size: str) -> Any:
    """SAM 2.1 for still images on a Hiera of `size`."""
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    given = _HIERA[size]
    widths = [given["width"] * 2**stage for stage in range(4)]
    hiera = Sam2HieraDetConfig(
        hidden_size=given["width"],
        num_attention_heads=given["heads"],
        blocks_per_stage=given["blocks"],
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[given["heads"] * 2**stage for stage in range(4)],
        window_size_per_stage=given.get("windows", [8, 4, 14, 7]),
        global_attention_blocks=given["whole"],
        window_positional_embedding_background_size=given.get("background", [7, 7]),
    )
    vision = Sam2VisionConfig(backbone_config=hiera, backbone_channel_list=widths[::-1])
    return Sam2Model(Sam2Config(vision_config=vision))


BUILDERS: Mapping[str, Callable[[], Any]] = {
    **{f"facebook/sam-vit-{size}": partial(sam, size) for size in _VIT},
    **{f"syscv-community/sam-hq-vit-{size}": partial(sam_hq, size) for size in _VIT},
    **{f"facebook/sam2.1-hiera-{size}": partial(sam2, size) for size in _HIERA},
}
"""Hub id -> what builds it on torch's default device."""
