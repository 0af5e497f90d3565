"""Tiny checkpoints of the Segment Anything family."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from stages import hub, sam_original
from stages import sam as family
from tests.tiny.checkpoints import Builder, checkpoint

SIDE, PATCH, WIDTH = 64, 8, 16


def _images() -> Any:
    from transformers import SamImageProcessorPil

    return SamImageProcessorPil(
        size={"longest_edge": SIDE},
        mask_size={"longest_edge": SIDE // 2},
        pad_size={"height": SIDE, "width": SIDE},
        mask_pad_size={"height": SIDE // 2, "width": SIDE // 2},
    )


def sam() -> tuple[Any, Any]:
    """SAM: longest side scaled, padded to a square."""
    from transformers import (
        SamConfig,
        SamMaskDecoderConfig,
        SamModel,
        SamProcessor,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    vision = SamVisionConfig(
        hidden_size=16,
        output_channels=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        initializer_range=0.02,
        window_size=4,
        global_attn_indexes=[0],
        num_pos_feats=WIDTH // 2,
    )
    prompts = SamPromptEncoderConfig(hidden_size=WIDTH, image_size=SIDE, patch_size=PATCH)
    decoder = SamMaskDecoderConfig(
        hidden_size=WIDTH, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = SamConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder
    )
    return lively(SamModel(config)), SamProcessor(_images())


def sam_hq() -> tuple[Any, Any]:
    """SAM-HQ: SAM whose decoder also reads what the image encoder saw half-way."""
    from transformers import (
        SamHQConfig,
        SamHQMaskDecoderConfig,
        SamHQModel,
        SamHQProcessor,
        SamHQPromptEncoderConfig,
        SamHQVisionConfig,
    )

    vision = SamHQVisionConfig(
        hidden_size=24,
        output_channels=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        initializer_range=0.02,
        window_size=4,
        global_attn_indexes=[0, 1],
        num_pos_feats=WIDTH // 2,
    )
    prompts = SamHQPromptEncoderConfig(hidden_size=WIDTH, image_size=SIDE, patch_size=PATCH)
    decoder = SamHQMaskDecoderConfig(
        hidden_size=WIDTH, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16, vit_dim=24
    )
    config = SamHQConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder
    )
    return lively(SamHQModel(config)), SamHQProcessor(_images())


def _sam2_parts() -> dict[str, Any]:
    from transformers import (
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    hiera = Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 2, 2, 2],
        # Not the first block of a stage: the library divides by its window size.
        global_attention_blocks=[4],
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=WIDTH,
    )
    return {
        "vision_config": vision,
        "prompt_encoder_config": Sam2PromptEncoderConfig(
            hidden_size=WIDTH, image_size=SIDE, patch_size=16
        ),
        "mask_decoder_config": Sam2MaskDecoderConfig(
            hidden_size=WIDTH, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    }


class _NoProcessor:
    """The image processor of SAM 2 needs torchvision, and the stages do without it."""

    def save_pretrained(self, folder: Path) -> None:
        """Nothing."""


def sam2() -> tuple[Any, Any]:
    """SAM 2 for still images: squeezed images, a pyramid of features."""
    from transformers import Sam2Config, Sam2Model

    return lively(Sam2Model(Sam2Config(**_sam2_parts()))), _NoProcessor()


def sam2_video() -> tuple[Any, Any]:
    """SAM 2 with its memory, as the published checkpoints are."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    config = Sam2VideoConfig(
        **_sam2_parts(),
        image_size=SIDE,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_num_attention_heads=1,
        memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=16,
    )
    return lively(Sam2VideoModel(config)), _NoProcessor()


PRETRAINED: dict[str, Builder] = {
    "sam": sam,
    "sam_hq": sam_hq,
    "sam2": sam2,
    "sam2_video": sam2_video,
}
SEGMENTERS = (*PRETRAINED, "original")
"""Every model of the family, by name."""


def lively(model: Any) -> Any:
    """Masks whose logits differ from 0: the library's start is meant for loaded weights."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.reset_parameters()
    # Quality estimates in the middle of [0, 1].
    torch.nn.init.constant_(model.mask_decoder.iou_prediction_head.proj_out.bias, 0.5)
    return model


@cache
def segmenter(name: str, dtype: hub.Dtype = "float32") -> family.Sam:
    """One of `SEGMENTERS`, loaded; the original package is a stand-in."""
    import torch

    from tests.tiny.segment_anything import Model, Package

    if name in PRETRAINED:
        return family.load(checkpoint(PRETRAINED[name]), "cpu", dtype)
    file = Path(mkdtemp(prefix="tiny-original-")) / "sam_vit_b.pth"
    torch.manual_seed(0)
    torch.save(Model(768).state_dict(), file)
    return family.Sam(sam_original.load(file, "cpu", dtype, Package()))
