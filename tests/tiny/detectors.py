"""Tiny detectors of the DETR line: with a text (Grounding DINO) and with fixed classes."""

from __future__ import annotations

from typing import Any

from tests.tiny.words import WORDS

LABELS = {0: "cat", 1: "dog", 2: "N/A", 3: "sky"}
SIDE = 64


def marked_tokenizer(length: int = 256) -> Any:
    """A BERT tokenizer whose marks have the numbers they have in bert-base-uncased.

    Grounding DINO knows them by number. Words that are not in the list are spelled.
    """
    from transformers import BertTokenizer

    vocabulary = {f"[unused{n}]": n for n in range(1100)}
    letters = [
        f"{hashes}{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789" for hashes in ("", "##")
    ]
    marks = {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": 101,
        "[SEP]": 102,
        "[MASK]": 103,
        ".": 1012,
        "?": 1029,
    }
    named = {n: symbol for symbol, n in marks.items()}
    more = dict.fromkeys([*WORDS, ",", *letters])
    named |= dict(zip((n for n in range(200, 1000)), more, strict=False))
    symbols = [named.get(n, symbol) for symbol, n in vocabulary.items()]
    return BertTokenizer(
        vocab={symbol: n for n, symbol in enumerate(symbols)}, model_max_length=length
    )


def _text(tokenizer: Any) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }


def _grounding(tokenizer: Any) -> dict[str, Any]:
    from transformers import SwinConfig

    backbone = SwinConfig(
        image_size=SIDE,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_indices=[2, 3, 4],
    )
    return {
        "backbone_config": backbone,
        "text_config": _text(tokenizer),
        "d_model": 64,
        "encoder_layers": 1,
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_layers": 2,
        "decoder_ffn_dim": 32,
        "decoder_attention_heads": 2,
        "num_queries": 12,
        "num_feature_levels": 4,
        "encoder_n_points": 2,
        "decoder_n_points": 2,
        "max_text_len": 64,
    }


def _grounding_processor(tokenizer: Any) -> Any:
    from transformers import GroundingDinoImageProcessorPil, GroundingDinoProcessor

    images = GroundingDinoImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return GroundingDinoProcessor(images, tokenizer)


def grounding_dino() -> tuple[Any, Any]:
    """Grounding DINO: the aspect ratio is kept, 64 tokens of text at most."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    tokenizer = marked_tokenizer()
    model = GroundingDinoForObjectDetection(GroundingDinoConfig(**_grounding(tokenizer)))
    return _decided(model), _grounding_processor(tokenizer)


def mm_grounding_dino() -> tuple[Any, Any]:
    """MM-Grounding-DINO: its class head has a bias and divides by the root of the width."""
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    tokenizer = marked_tokenizer()
    model = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**_grounding(tokenizer)))
    return _decided(model), _grounding_processor(tokenizer)


def _resnet(levels: list[str]) -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=levels,
    )


_SMALL = {
    "d_model": 64,
    "encoder_layers": 1,
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_layers": 2,
    "decoder_ffn_dim": 32,
    "decoder_attention_heads": 2,
    "num_queries": 12,
    "id2label": LABELS,
    "label2id": {label: n for n, label in LABELS.items()},
}


def detr() -> tuple[Any, Any]:
    """DETR: a softmax over the classes and one for nothing; the aspect ratio is kept."""
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessorPil

    config = DetrConfig(backbone_config=_resnet(["stage1", "stage2", "stage3", "stage4"]), **_SMALL)
    images = DetrImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return _decided(DetrForObjectDetection(config)), images


def deformable_detr() -> tuple[Any, Any]:
    """Deformable DETR: a sigmoid per class; the aspect ratio is kept."""
    from transformers import (
        DeformableDetrConfig,
        DeformableDetrForObjectDetection,
        DeformableDetrImageProcessorPil,
    )

    config = DeformableDetrConfig(
        backbone_config=_resnet(["stage2", "stage3", "stage4"]),
        encoder_n_points=2,
        decoder_n_points=2,
        **_SMALL,
    )
    images = DeformableDetrImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return _decided(DeformableDetrForObjectDetection(config)), images


_HYBRID = {
    **_SMALL,
    "encoder_hidden_dim": 64,
    "encoder_in_channels": [16, 16, 16],
    "decoder_in_channels": [64, 64, 64],
    "decoder_n_points": 2,
    "hidden_expansion": 0.5,
}


def _square() -> Any:
    from transformers import RTDetrImageProcessorPil

    return RTDetrImageProcessorPil(size={"height": SIDE, "width": SIDE})


def rt_detr_v2() -> tuple[Any, Any]:
    """RT-DETRv2: squashed images, a sigmoid per class."""
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    config = RTDetrV2Config(backbone_config=backbone, **_HYBRID)
    return _decided(RTDetrV2ForObjectDetection(config)), _square()


def d_fine() -> tuple[Any, Any]:
    """D-FINE: squashed images, boxes from distributions of their edges."""
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 16, 16],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 16, 16],
        hidden_sizes=[8, 16, 16, 16],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_indices=[2, 3, 4],
    )
    config = DFineConfig(backbone_config=backbone, lqe_hidden_dim=8, depth_mult=0.34, **_HYBRID)
    return _decided(DFineForObjectDetection(config)), _square()


def _decided(model: Any) -> Any:
    """Larger weights, so that boxes differ and some scores are high: as the library begins, boxes
    are cells of a grid and no score is over a threshold."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            head = "bbox_" in name or "class_labels" in name
            if head and name.endswith("weight"):
                torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
            elif "query_position" in name:
                torch.nn.init.normal_(weight)
            elif weight.dim() > 1 and "backbone" not in name:
                weight.mul_(2.0)
            elif name.endswith("bias") and ("class_embed" in name or "score_head" in name):
                weight.zero_()
    return model
