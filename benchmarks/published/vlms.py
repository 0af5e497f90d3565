"""Models that write about images, at published size, by their authors' configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

_OPT: Mapping[str, Mapping[str, int]] = {
    "2.7b": {"hidden_size": 2560, "ffn_dim": 10240},
    "6.7b": {"hidden_size": 4096, "ffn_dim": 16384},
}
LLAMA: Mapping[str, Mapping[str, int]] = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    "13b": {
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
    },
}
_BART: Mapping[str, Mapping[str, int]] = {
    "base": {"d_model": 768, "layers": 6, "ffn": 3072, "heads": 12},
    "large": {"d_model": 1024, "layers": 12, "ffn": 4096, "heads": 16},
}
_QWEN2_5: Mapping[str, Mapping[str, Any]] = {
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152_064,
    },
}
_QWEN3: Mapping[str, Mapping[str, Any]] = {
    # Width, feed-forward, layers, heads; the image tower of the smaller two is smaller.
    "2b": {"text": (2048, 6144, 28, 16), "vision": (24, 1024, 4096, (5, 11, 17))},
    "4b": {"text": (2560, 9728, 36, 32), "vision": (24, 1024, 4096, (5, 11, 17))},
    "8b": {"text": (4096, 12288, 36, 32), "vision": (27, 1152, 4304, (8, 16, 24))},
}


def blip(size: str) -> Any:
    """BLIP for captions on a ViT-B or ViT-L of 384 pixels."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    large = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    vision = {"image_size": 384, "patch_size": 16, **(large if size == "large" else {})}
    text = {"encoder_hidden_size": 1024 if size == "large" else 768}
    return BlipForConditionalGeneration(BlipConfig(vision_config=vision, text_config=text))


def blip2(size: str) -> Any:
    """BLIP-2 on an EVA-CLIP ViT-g and an OPT, with a word for the image's place."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    text = {
        "model_type": "opt",
        "vocab_size": 50_304,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "word_embed_proj_dim": _OPT[size]["hidden_size"],
        **_OPT[size],
    }
    return Blip2ForConditionalGeneration(
        Blip2Config(text_config=text, num_query_tokens=32, image_token_index=50_265)
    )


def llava(size: str) -> Any:
    """LLaVA 1.5 on a CLIP ViT-L of 336 pixels and a Vicuna."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    text = LlamaConfig(vocab_size=32_064, **LLAMA[size])
    return LlavaForConditionalGeneration(LlavaConfig(text_config=text, image_token_index=32_000))


def florence2(size: str) -> Any:
    """Florence-2: a DaViT and a BART with 1000 places among its words."""
    from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

    small = _BART[size]
    text = BartConfig(
        vocab_size=51_328 if size == "large" else 51_290,
        d_model=small["d_model"],
        encoder_layers=small["layers"],
        decoder_layers=small["layers"],
        encoder_ffn_dim=small["ffn"],
        decoder_ffn_dim=small["ffn"],
        encoder_attention_heads=small["heads"],
        decoder_attention_heads=small["heads"],
        max_position_embeddings=4096 if size == "large" else 1024,
    )
    large = {
        "embed_dim": [256, 512, 1024, 2048],
        "num_heads": [8, 16, 32, 64],
        "num_groups": [8, 16, 32, 64],
    }
    vision = {"projection_dim": small["d_model"], **(large if size == "large" else {})}
    return Florence2ForConditionalGeneration(
        Florence2Config(vision_config=vision, text_config=text)
    )


def kosmos2() -> Any:
    """Kosmos-2: a CLIP ViT-L of 224 pixels and a Magneto of 24 layers."""
    from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

    return Kosmos2ForConditionalGeneration(Kosmos2Config())


def _rope(theta: float, sections: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta, "mrope_section": sections}


def qwen2_5_vl(size: str) -> Any:
    """Qwen2.5-VL."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [16, 24, 24],
        },
        "max_position_embeddings": 128_000,
        **_QWEN2_5[size],
    }
    vision = {"hidden_size": 1280, "out_hidden_size": _QWEN2_5[size]["hidden_size"]}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=size == "3b")
    )


def qwen3_vl(size: str) -> Any:
    """Qwen3-VL."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    width, feed, layers, heads = _QWEN3[size]["text"]
    depth, side, inner, deep = _QWEN3[size]["vision"]
    text = {
        "hidden_size": width,
        "intermediate_size": feed,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
        },
    }
    vision = {
        "depth": depth,
        "hidden_size": side,
        "intermediate_size": inner,
        "out_hidden_size": width,
        "deepstack_visual_indexes": list(deep),
    }
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=size != "8b")
    )


BUILDERS: Mapping[str, Callable[[], Any]] = {
    "Salesforce/blip-image-captioning-base": partial(blip, "base"),
    "Salesforce/blip-image-captioning-large": partial(blip, "large"),
    "Salesforce/blip2-opt-2.7b": partial(blip2, "2.7b"),
    "Salesforce/blip2-opt-6.7b": partial(blip2, "6.7b"),
    "llava-hf/llava-1.5-7b-hf": partial(llava, "7b"),
    "llava-hf/llava-1.5-13b-hf": partial(llava, "13b"),
    "florence-community/Florence-2-base": partial(florence2, "base"),
    "florence-community/Florence-2-large": partial(florence2, "large"),
    "microsoft/kosmos-2-patch14-224": kosmos2,
    "Qwen/Qwen2.5-VL-3B-Instruct": partial(qwen2_5_vl, "3b"),
    "Qwen/Qwen2.5-VL-7B-Instruct": partial(qwen2_5_vl, "7b"),
    "Qwen/Qwen3-VL-2B-Instruct": partial(qwen3_vl, "2b"),
    "Qwen/Qwen3-VL-4B-Instruct": partial(qwen3_vl, "4b"),
    "Qwen/Qwen3-VL-8B-Instruct": partial(qwen3_vl, "8b"),
}
