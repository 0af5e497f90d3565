"""Tiny checkpoints of depth models."""

from __future__ import annotations

from typing import Any

SIDE = 64

_SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
_NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}


def _images() -> Any:
    """Room for strips: a side is brought to a multiple of 32, and must not become 0."""
    from transformers import DPTImageProcessorPil

    return DPTImageProcessorPil(
        size={"height": 128, "width": 128}, keep_aspect_ratio=True, ensure_multiple_of=32
    )


def dpt() -> tuple[Any, Any]:
    """DPT on a plain ViT: squashed images."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE // 2,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        reassemble_factors=[4, 2, 1, 0.5],
        is_hybrid=False,
        backbone_config=None,
    )
    images = DPTImageProcessorPil(size={"height": SIDE // 2, "width": SIDE // 2})
    return loud(DPTForDepthEstimation(config)), images


def depth_anything() -> tuple[Any, Any]:
    """Depth Anything: the aspect ratio is kept, so batches can have mixed shapes."""
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessorPil,
    )

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    images = DPTImageProcessorPil(
        size={"height": 70, "width": 70}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return loud(DepthAnythingForDepthEstimation(config)), images


def dpt_beit() -> tuple[Any, Any]:
    """DPT on BEiT, as MiDaS 3.1: sides of multiples of 32 pixels."""
    from transformers import BeitConfig, DPTConfig, DPTForDepthEstimation

    backbone = BeitConfig(
        **_SMALL,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=16,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = DPTConfig(backbone_config=backbone, **_NECK)
    return loud(DPTForDepthEstimation(config)), _images()


def dpt_swinv2() -> tuple[Any, Any]:
    """DPT on Swin v2, as MiDaS 3.1: features come in four sizes."""
    from transformers import DPTConfig, DPTForDepthEstimation, Swinv2Config

    backbone = Swinv2Config(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        image_size=SIDE,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    neck = {"neck_hidden_sizes": [8, 16, 32, 64], "fusion_hidden_size": 8}
    config = DPTConfig(backbone_config=backbone, reassemble_factors=[1, 1, 1, 1], **neck)
    return loud(DPTForDepthEstimation(config)), _images()


def dpt_hybrid() -> tuple[Any, Any]:
    """DPT on a convolutional net and a ViT, as MiDaS 3: squashed images."""
    from transformers import BitConfig, DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    backbone = BitConfig(
        layer_type="bottleneck",
        embedding_size=8,
        hidden_sizes=[8, 16, 32],
        depths=[1, 1, 1],
        num_groups=2,
        embedding_dynamic_padding=True,
        global_padding="same",
        out_features=["stage1", "stage2", "stage3"],
    )
    config = DPTConfig(
        **_SMALL,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=16,
        is_hybrid=True,
        backbone_config=backbone,
        backbone_featmap_shape=[1, 32, 4, 4],
        backbone_out_indices=[0, 1, 2, 3],
        reassemble_factors=[1, 1, 1, 0.5],
        readout_type="project",
        neck_hidden_sizes=[8, 16, 8, 8],
        fusion_hidden_size=8,
    )
    return loud(DPTForDepthEstimation(config)), DPTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}
    )


def depth_anything_metric() -> tuple[Any, Any]:
    """Depth Anything that predicts metres, up to 20."""
    from transformers import DepthAnythingForDepthEstimation

    relative, images = depth_anything()
    config = relative.config
    config.depth_estimation_type, config.max_depth = "metric", 20
    model = loud(DepthAnythingForDepthEstimation(config))
    # Into the middle of the range: the last step is a sigmoid.
    model.head.conv3.weight.data *= 0.01
    return model, images


def zoedepth() -> tuple[Any, Any]:
    """ZoeDepth with two heads, indoors and outdoors: predicts metres."""
    import torch
    from transformers import (
        BeitConfig,
        ZoeDepthConfig,
        ZoeDepthForDepthEstimation,
        ZoeDepthImageProcessorPil,
    )

    backbone = BeitConfig(
        **_SMALL,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=16,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    heads = [("nyu", 10.0), ("kitti", 80.0)]
    config = ZoeDepthConfig(
        backbone_config=backbone,
        **_NECK,
        bottleneck_features=8,
        num_relative_features=8,
        bin_embedding_dim=8,
        num_attractors=[2, 2, 2, 1],
        bin_configurations=[
            {"name": name, "n_bins": 4, "min_depth": 1e-3, "max_depth": far} for name, far in heads
        ],
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,  # the library expects nothing else
        patch_transformer_intermediate_size=8,
        patch_transformer_num_attention_heads=2,
    )
    images = ZoeDepthImageProcessorPil(
        size={"height": 128, "width": 128}, ensure_multiple_of=32, keep_aspect_ratio=True
    )
    model = ZoeDepthForDepthEstimation(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.reset_parameters()
    return model, images


def loud(model: Any) -> Any:
    """Depth maps whose values differ: the library's start is meant for loaded weights."""
    import torch

    for module in (*model.neck.modules(), *model.head.modules()):
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(module.weight, std=(module.weight[0].numel() / 2) ** -0.5)
    # The last step cuts off what is below 0.
    last = [m for m in model.head.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    assert last.bias is not None
    torch.nn.init.constant_(last.bias, 1.0)
    return model
