"""Keys and values in buffers."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicCache

from stages import kv_cache
from tests.tiny import chats


def _config() -> LlamaConfig:
    return LlamaConfig(num_hidden_layers=2, hidden_size=8, num_attention_heads=2)


def _states(tokens: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(2, 3, 2, tokens, 4, generator=generator)
    return made[0], made[1]


@pytest.mark.parametrize("lengths", [[5, 1, 1, 1], [1, 1], [3, kv_cache.ROOM + 9, 1]])
def test_holds_what_the_default_cache_holds(lengths: list[int]) -> None:
    ours, theirs = kv_cache.buffered(_config()), DynamicCache(config=_config())
    for seed, tokens in enumerate(lengths):
        for layer in (0, 1):
            states = _states(tokens, 10 * seed + layer)
            for mine, wanted in zip(
                ours.update(*states, layer), theirs.update(*states, layer), strict=True
            ):
                assert torch.equal(mine, wanted)
    assert ours.get_seq_length() == theirs.get_seq_length() == sum(lengths)


def test_appending_leaves_the_buffer_in_its_place() -> None:
    cache = kv_cache.buffered(_config())
    first, _ = cache.update(*_states(4, 0), 0)
    second, _ = cache.update(*_states(1, 1), 0)
    assert second.data_ptr() == first.data_ptr()


def test_a_cropped_or_reordered_batch_goes_on_from_what_is_left() -> None:
    ours, theirs = kv_cache.buffered(_config()), DynamicCache(config=_config())
    for cache in (ours, theirs):
        cache.update(*_states(6, 0), 0)
        cache.layers[0].crop(-2)
        cache.update(*_states(1, 1), 0)
        cache.layers[0].batch_select_indices(torch.tensor([2, 0]))
    states = [part[:2] for part in _states(1, 2)]
    assert torch.equal(ours.update(*states, 0)[0], theirs.update(*states, 0)[0])


def test_a_model_says_the_same_with_either_cache() -> None:
    torch.manual_seed(3)
    model, tokenizer = chats.llama()
    inputs = tokenizer(["what is it?", "go on, then"], return_tensors="pt")
    answers = [
        model.eval().generate(
            **inputs, max_new_tokens=40, do_sample=False, pad_token_id=0, past_key_values=cache
        )
        for cache in (kv_cache.buffered(model.config), DynamicCache(config=model.config))
    ]
    assert torch.equal(*answers)


def test_other_kinds_of_layers_stay() -> None:
    config = MistralConfig(num_hidden_layers=2, sliding_window=4)
    layers = kv_cache.buffered(config).layers
    assert not any(isinstance(layer.update, kv_cache.Append) for layer in layers)
