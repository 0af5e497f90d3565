"""CLIP, SigLIP and SigLIP 2 at published size, by the numbers of the authors' configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

_GEMMA_WORDS = 256_000

_TEXT: Mapping[str, Mapping[str, int]] = {
    "512": {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8},
    "768": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "1152": {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16},
    "1280": {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20},
}
"""Width -> a tower of that width; images and texts have the same kinds of layer."""


def clip(side: int, patch: int, layers: int, width: int, heads: int, text: str, depth: int) -> Any:
    """A CLIP: a ViT of `layers` layers beside a text tower of `depth`."""
    from transformers import CLIPConfig, CLIPModel

    vision = {
        "hidden_size": width,
        # The bigG of LAION has a narrower feed-forward layer.
        "intermediate_size": 8192 if width == 1664 else 4 * width,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "image_size": side,
        "patch_size": patch,
    }
    words = {**_TEXT[text], "num_hidden_layers": depth}
    common = _TEXT[text]["hidden_size"]
    return CLIPModel(CLIPConfig(text_config=words, vision_config=vision, projection_dim=common))


def siglip(side: int, patch: int, tower: str, depth: int, words: int = 32_000) -> Any:
    """A SigLIP: two towers of one width; SigLIP 2 differs in its words alone."""
    from transformers import SiglipConfig, SiglipModel

    common = {**_TEXT[tower], "num_hidden_layers": depth}
    # The library's own marks for start and end are those of CLIP, beyond these words.
    marks = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 1}
    text = {**common, **marks, "vocab_size": words, "projection_size": common["hidden_size"]}
    vision = {**common, "image_size": side, "patch_size": patch}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=vision))


BUILDERS: Mapping[str, Callable[[], Any]] = {
    "openai/clip-vit-base-patch32": partial(clip, 224, 32, 12, 768, 12, "512", 12),
    "openai/clip-vit-large-patch14-336": partial(clip, 336, 14, 24, 1024, 16, "768", 12),
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": partial(clip, 224, 14, 48, 1664, 16, "1280", 32),
    "google/siglip-base-patch16-224": partial(siglip, 224, 16, "768", 12),
    "google/siglip-so400m-patch14-384": partial(siglip, 384, 14, "1152", 27),
    "google/siglip2-base-patch16-224": partial(siglip, 224, 16, "768", 12, _GEMMA_WORDS),
    "google/siglip2-so400m-patch14-384": partial(siglip, 384, 14, "1152", 27, _GEMMA_WORDS),
}
