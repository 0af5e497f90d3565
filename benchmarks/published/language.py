"""Language models that answer chats, at published size, by their authors' configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.published.vlms import LLAMA

_QWEN3: Mapping[str, tuple[int, int, int, int]] = {
    # Width, feed-forward, layers, heads.
    "1.7b": (2048, 6144, 28, 16),
    "4b": (2560, 9728, 36, 32),
}


def qwen3(size: str) -> Any:
    """Qwen3 as a dense model; its smaller sizes share input and output embeddings."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    width, inner, layers, heads = _QWEN3[size]
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config)


def vicuna(size: str) -> Any:
    """Vicuna: a Llama 2 trained further."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=32_000, max_position_embeddings=4096, **LLAMA[size])
    return LlamaForCausalLM(config)


BUILDERS: Mapping[str, Callable[[], Any]] = {
    "Qwen/Qwen3-1.7B": partial(qwen3, "1.7b"),
    "Qwen/Qwen3-4B": partial(qwen3, "4b"),
    "Qwen/Qwen3-4B-Instruct-2507": partial(qwen3, "4b"),
    "lmsys/vicuna-7b-v1.5": partial(vicuna, "7b"),
    "lmsys/vicuna-13b-v1.5": partial(vicuna, "13b"),
}
