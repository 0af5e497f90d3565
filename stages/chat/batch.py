"""Greedy answers of a batch whose rows leave it when they have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

STRETCH = 16
"""Tokens written between two looks at which rows have ended."""

Written = tuple[list[int], bool]
"""The new tokens of a row up to the one that ends it, and whether there is such a one."""


def write(
    model: Any, tokens: Tensor, mask: Tensor, ends: frozenset[int], most: int
) -> list[Written]:
    """What the model writes after every row, at most `most` tokens.

    A batch lasts as long as its longest answer. So the model's own `generate` is called for a
    stretch at a time, and goes on with the rows that are still open: what a row says does not
    depend on it, what the batch costs does.

    Args:
        model: a causal language model of transformers.
        tokens: prompts (n, t), padded on the left.
        mask: 1 for tokens and 0 for padding (n, t).
        ends: tokens that end an answer.
        most: limit of new tokens.
    """
    import torch

    start, cache = tokens.shape[1], None
    written: list[Written] = [([], False)] * len(tokens)
    rows = list(range(len(tokens)))
    while rows:
        stretch = min(STRETCH, most - (tokens.shape[1] - start))
        tokens, cache = _stretch(model, tokens, mask, cache, stretch)
        new = tokens.shape[1] - mask.shape[1]
        mask = torch.cat([mask, mask.new_ones(len(rows), new)], dim=1)
        for row, said in zip(rows, tokens[:, start:].tolist(), strict=True):
            written[row] = _ended(said, ends)
        full = new < stretch or tokens.shape[1] - start >= most
        still = [] if full else [n for n, row in enumerate(rows) if not written[row][1]]
        if still and len(still) < len(rows):
            kept = torch.tensor(still, device=tokens.device)
            tokens, mask = tokens[kept], mask[kept]
            if cache is not None:
                cache.batch_select_indices(kept)
        rows = [rows[n] for n in still]
    return written


def _stretch(model: Any, tokens: Tensor, mask: Tensor, cache: Any, most: int) -> tuple[Tensor, Any]:
    """All tokens after at most `most` more, and the cache of keys and values, if there is one."""
    out = model.generate(
        input_ids=tokens,
        attention_mask=mask,
        past_key_values=cache,
        max_new_tokens=most,
        do_sample=False,
        num_beams=1,
        return_dict_in_generate=True,
    )
    return out.sequences, getattr(out, "past_key_values", None)


def _ended(tokens: list[int], ends: frozenset[int]) -> Written:
    end = next((n for n, token in enumerate(tokens) if token in ends), None)
    return tokens[:end], end is not None
