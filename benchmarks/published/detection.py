"""Detectors at published size. The numbers are those of the authors' configurations.

DETR and Deformable DETR are built on the ResNet-50 of transformers: their hub checkpoints name
the timm one, which has the same layers and as many parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

COCO = 80
COCO_PAPER_IDS = 91
"""Classes of detectors that keep the ids of the COCO paper, eleven of them never used."""
OBJECTS365 = 366

_SWIN: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
    "base": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
    "large": {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48]},
}
_HGNET: Mapping[str, Mapping[str, Any]] = {
    # D-FINE backbone, encoder and decoder per size.
    "small": {
        "stem": [3, 16, 16],
        "into": [16, 64, 256, 512],
        "middle": [16, 32, 64, 128],
        "out": [64, 256, 512, 1024],
        "blocks": [1, 1, 2, 1],
        "layers": [3, 3, 3, 3],
        "affine": True,
    },
    "large": {
        "stem": [3, 32, 48],
        "into": [48, 128, 512, 1024],
        "middle": [48, 96, 192, 384],
        "out": [128, 512, 1024, 2048],
        "blocks": [1, 1, 3, 1],
        "layers": [6, 6, 6, 6],
        "affine": False,
    },
    "xlarge": {
        "stem": [3, 32, 64],
        "into": [64, 128, 512, 1024],
        "middle": [64, 128, 256, 512],
        "out": [128, 512, 1024, 2048],
        "blocks": [1, 2, 5, 2],
        "layers": [6, 6, 6, 6],
        "affine": False,
    },
}
_DFINE: Mapping[str, Mapping[str, Any]] = {
    "small": {"decoder_layers": 3, "hidden_expansion": 0.5, "depth_mult": 0.34},
    "large": {},
    "xlarge": {
        "encoder_hidden_dim": 384,
        "encoder_ffn_dim": 2048,
        "decoder_in_channels": [384, 384, 384],
    },
}


def owl_vit(patch: int) -> Any:
    """OWL-ViT on a CLIP ViT-B."""
    from transformers import OwlViTConfig, OwlViTForObjectDetection

    vision = {"image_size": 768, "patch_size": patch}
    return OwlViTForObjectDetection(OwlViTConfig(text_config={}, vision_config=vision))


def owlv2(large: bool) -> Any:
    """OWLv2 on a CLIP ViT-B/16 or ViT-L/14."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    if not large:
        vision = {"image_size": 960, "patch_size": 16}
        return Owlv2ForObjectDetection(Owlv2Config(text_config={}, vision_config=vision))
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 1008,
        "patch_size": 14,
    }
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=768)
    return Owlv2ForObjectDetection(config)


def grounding_dino(size: str) -> Any:
    """Grounding DINO on Swin and BERT-base."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    return GroundingDinoForObjectDetection(GroundingDinoConfig(backbone_config=_swin(size)))


def mm_grounding_dino(size: str) -> Any:
    """MM-Grounding-DINO on Swin and BERT-base; the large one has a fifth feature level."""
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    config = MMGroundingDinoConfig(
        backbone_config=_swin(size), num_feature_levels=5 if size == "large" else 4
    )
    return MMGroundingDinoForObjectDetection(config)


def detr() -> Any:
    """DETR on ResNet-50."""
    from transformers import DetrConfig, DetrForObjectDetection

    backbone = _resnet(["stage1", "stage2", "stage3", "stage4"])
    return DetrForObjectDetection(DetrConfig(backbone_config=backbone, num_labels=COCO_PAPER_IDS))


def deformable_detr() -> Any:
    """Deformable DETR on ResNet-50, one stage, no box refinement."""
    from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection

    config = DeformableDetrConfig(
        backbone_config=_resnet(["stage2", "stage3", "stage4"]), num_labels=COCO_PAPER_IDS
    )
    return DeformableDetrForObjectDetection(config)


def rt_detr_v2(layers: int) -> Any:
    """RT-DETRv2 on ResNet-18 or ResNet-50 of the "vd" kind."""
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    if layers == 50:
        backbone = RTDetrResNetConfig(out_indices=[2, 3, 4])
        return RTDetrV2ForObjectDetection(RTDetrV2Config(backbone_config=backbone, num_labels=COCO))
    backbone = RTDetrResNetConfig(
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[128, 256, 512],
        hidden_expansion=0.5,
        decoder_layers=3,
        num_labels=COCO,
    )
    return RTDetrV2ForObjectDetection(config)


def d_fine(size: str, labels: int) -> Any:
    """D-FINE on HGNetV2."""
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    known = _HGNET[size]
    backbone = HGNetV2Config(
        stem_channels=known["stem"],
        stage_in_channels=known["into"],
        stage_mid_channels=known["middle"],
        stage_out_channels=known["out"],
        hidden_sizes=known["out"],
        stage_num_blocks=known["blocks"],
        stage_numb_of_layers=known["layers"],
        use_learnable_affine_block=known["affine"],
        out_indices=[2, 3, 4],
    )
    config = DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=known["out"][1:],
        decoder_n_points=[3, 6, 3],
        num_labels=labels,
        **_DFINE[size],
    )
    return DFineForObjectDetection(config)


def _swin(size: str) -> Any:
    from transformers import SwinConfig

    small = size == "tiny"
    levels = ["stage1", "stage2", "stage3", "stage4"]
    return SwinConfig(
        image_size=224 if small else 384,
        window_size=7 if small else 12,
        out_features=levels if size == "large" else levels[1:],
        **_SWIN[size],
    )


def _resnet(levels: list[str]) -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(out_features=levels)


BUILDERS: Mapping[str, Callable[[], Any]] = {
    "google/owlvit-base-patch32": partial(owl_vit, 32),
    "google/owlv2-base-patch16-ensemble": partial(owlv2, large=False),
    "google/owlv2-large-patch14-ensemble": partial(owlv2, large=True),
    "IDEA-Research/grounding-dino-tiny": partial(grounding_dino, "tiny"),
    "IDEA-Research/grounding-dino-base": partial(grounding_dino, "base"),
    "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det": partial(
        mm_grounding_dino, "tiny"
    ),
    "openmmlab-community/mm_grounding_dino_base_all": partial(mm_grounding_dino, "base"),
    "openmmlab-community/mm_grounding_dino_large_all": partial(mm_grounding_dino, "large"),
    "facebook/detr-resnet-50": detr,
    "SenseTime/deformable-detr": deformable_detr,
    "PekingU/rtdetr_v2_r18vd": partial(rt_detr_v2, 18),
    "PekingU/rtdetr_v2_r50vd": partial(rt_detr_v2, 50),
    "ustc-community/dfine-small-coco": partial(d_fine, "small", COCO),
    "ustc-community/dfine-large-obj365": partial(d_fine, "large", OBJECTS365),
    "ustc-community/dfine-xlarge-obj365": partial(d_fine, "xlarge", OBJECTS365),
}
"""Hub id -> builder."""
