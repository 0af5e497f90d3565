"""Depth models at published size. The numbers are those of the authors' configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

_VIT: Mapping[str, Mapping[str, int]] = {
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
}
_NECK: Mapping[str, list[int]] = {
    "small": [48, 96, 192, 384],
    "base": [96, 192, 384, 768],
    "large": [256, 512, 1024, 1024],
}
_EVEN: Mapping[str, tuple[int, ...]] = {
    "small": (3, 6, 9, 12),
    "base": (3, 6, 9, 12),
    "large": (6, 12, 18, 24),
}
"""Layers, counted from 1, that the neck reads."""
_ANYTHING: Mapping[str, int] = {"small": 64, "base": 128, "large": 256}
"""Width of the fusion layers of Depth Anything."""


def _beit(size: str, side: int) -> Any:
    from transformers import BeitConfig

    return BeitConfig(
        **_VIT[size],
        intermediate_size=4 * _VIT[size]["hidden_size"],
        image_size=side,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=[f"stage{level}" for level in _EVEN[size]],
    )


def dpt_large() -> Any:
    """MiDaS 3.0 on a plain ViT-L."""
    from transformers import DPTConfig, DPTForDepthEstimation

    config = DPTConfig(
        **_VIT["large"],
        intermediate_size=4096,
        neck_hidden_sizes=_NECK["large"],
        backbone_out_indices=[5, 11, 17, 23],
    )
    return DPTForDepthEstimation(config)


def dpt_hybrid() -> Any:
    """MiDaS 3.0 on a ResNet and a ViT-B."""
    from transformers import BitConfig, DPTConfig, DPTForDepthEstimation

    backbone = BitConfig(
        global_padding="same",
        layer_type="bottleneck",
        depths=[3, 4, 9],
        out_features=["stage1", "stage2", "stage3"],
        embedding_dynamic_padding=True,
    )
    config = DPTConfig(
        is_hybrid=True,
        backbone_config=backbone,
        neck_hidden_sizes=[256, 512, 768, 768],
        reassemble_factors=[1, 1, 1, 0.5],
        backbone_featmap_shape=[1, 1024, 24, 24],
    )
    return DPTForDepthEstimation(config)


def dpt_beit(size: str, side: int) -> Any:
    """MiDaS 3.1 on a BEiT of `size` for images of `side` pixels."""
    from transformers import DPTConfig, DPTForDepthEstimation

    config = DPTConfig(backbone_config=_beit(size, side), neck_hidden_sizes=_NECK[size])
    return DPTForDepthEstimation(config)


def depth_anything(size: str, metres: int | None = None) -> Any:
    """Depth Anything V2 on a DINOv2 of `size`; `metres`: the farthest that a metric one says."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    levels = (5, 12, 18, 24) if size == "large" else _EVEN[size]
    backbone = Dinov2Config(
        **_VIT[size],
        image_size=518,
        patch_size=14,
        out_features=[f"stage{level}" for level in levels],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    metric = {} if metres is None else {"depth_estimation_type": "metric", "max_depth": metres}
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=_VIT[size]["hidden_size"],
        neck_hidden_sizes=_NECK[size],
        fusion_hidden_size=_ANYTHING[size],
        **metric,
    )
    return DepthAnythingForDepthEstimation(config)


def zoedepth() -> Any:
    """ZoeDepth on BEiT-L with a head for indoors and one for outdoors."""
    from transformers import ZoeDepthConfig, ZoeDepthForDepthEstimation

    heads = [("nyu", 10.0), ("kitti", 80.0)]
    config = ZoeDepthConfig(
        backbone_config=_beit("large", 384),
        neck_hidden_sizes=_NECK["large"],
        bin_configurations=[
            {"name": name, "n_bins": 64, "min_depth": 1e-3, "max_depth": far} for name, far in heads
        ],
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=1024,
        patch_transformer_num_attention_heads=4,
    )
    return ZoeDepthForDepthEstimation(config)


_V2 = "depth-anything/Depth-Anything-V2"
BUILDERS: Mapping[str, Callable[[], Any]] = {
    "Intel/dpt-hybrid-midas": dpt_hybrid,
    "Intel/dpt-large": dpt_large,
    "Intel/dpt-beit-base-384": partial(dpt_beit, "base", 384),
    "Intel/dpt-beit-large-384": partial(dpt_beit, "large", 384),
    "Intel/dpt-beit-large-512": partial(dpt_beit, "large", 512),
    **{f"{_V2}-{size.title()}-hf": partial(depth_anything, size) for size in _VIT},
    **{
        f"{_V2}-Metric-{place}-{size.title()}-hf": partial(depth_anything, size, metres)
        for place, metres in (("Indoor", 20), ("Outdoor", 80))
        for size in _VIT
    },
    "Intel/zoedepth-nyu-kitti": zoedepth,
}
"""Hub id -> what builds it on torch's default device."""
