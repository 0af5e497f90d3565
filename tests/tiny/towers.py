"""Two-tower checkpoints beside `checkpoints.clip` and `checkpoints.siglip`."""

from __future__ import annotations

from typing import Any

SIDE, PATCH = 32, 8
LENGTH = 12
"""Tokens of a text as the model was trained; the tokenizer knows no limit, as Gemma's does not."""


def _tokenizer() -> Any:
    """Single letters and a mark for blanks, as the tokenizer of Gemma writes them."""
    from transformers import Siglip2Tokenizer

    symbols = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    return Siglip2Tokenizer(
        vocab={symbol: index for index, symbol in enumerate(symbols)},
        merges=[],
        padding_side="right",
        model_input_names=["input_ids"],
    )


def _parts(tokenizer: Any) -> dict[str, dict[str, Any]]:
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = {
        **small,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": LENGTH,
        "projection_size": 16,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return {"text_config": text, "vision_config": {**small, "patch_size": PATCH}}


def siglip2() -> tuple[Any, Any]:
    """SigLIP 2 of one size: the architecture of SigLIP with the tokenizer of Gemma."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipProcessor

    tokenizer = _tokenizer()
    parts = _parts(tokenizer)
    parts["vision_config"]["image_size"] = SIDE
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return SiglipModel(SiglipConfig(**parts)), SiglipProcessor(images, tokenizer)


def siglip2_naflex() -> tuple[Any, Any]:
    """SigLIP 2 that keeps the aspect ratio: up to so many patches, the rest masked."""
    from transformers import (
        Siglip2Config,
        Siglip2ImageProcessorPil,
        Siglip2Model,
        Siglip2Processor,
    )

    tokenizer = _tokenizer()
    parts = _parts(tokenizer)
    parts["vision_config"]["num_patches"] = (SIDE // PATCH) ** 2
    images = Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=(SIDE // PATCH) ** 2)
    return Siglip2Model(Siglip2Config(**parts)), Siglip2Processor(images, tokenizer)
