"""Grad-CAM against the product written out, and the maps that are made of it."""

from __future__ import annotations

import torch

from tests.tiny import xvlm
from training.models.xvlm import attention
from training.models.xvlm.network import whole


def test_heat_is_attention_times_the_positive_slope() -> None:
    model = xvlm.network()
    patches, texts = model.see(xvlm.pixels(2)), model.read(*xvlm.texts(2))
    found = attention.heat(model, patches, texts)
    fused = model.attend(texts, whole(patches))
    first = fused.attention[0]  # of two layers, two thirds up
    (slope,) = torch.autograd.grad(model.match(fused)[0, 1], first)
    for token in range(4):
        by_hand = torch.zeros(16)
        for head in range(2):
            for patch in range(16):
                part = first[0, head, token, 1 + patch] * max(slope[0, head, token, 1 + patch], 0)
                by_hand[patch] += part.detach() / 2
        torch.testing.assert_close(found[0, token].flatten(), by_hand)


def test_padding_has_no_heat_and_does_not_count() -> None:
    model = xvlm.network()
    tokens, mask = xvlm.texts(2)
    mask[0, 2:] = 0
    texts = model.read(tokens, mask)
    found = attention.heat(model, model.see(xvlm.pixels(2)).detach(), texts)
    assert found.shape == (2, 4, 4, 4)
    assert float(found[0, 2:].abs().sum()) == 0
    torch.testing.assert_close(attention.of_text(found, mask)[0], (found[0, 0] + found[0, 1]) / 2)


def test_maps_grow_to_the_side_asked_for() -> None:
    flat = torch.ones(1, 4, 4)
    torch.testing.assert_close(attention.enlarged(flat, 32), torch.ones(1, 32, 32))
