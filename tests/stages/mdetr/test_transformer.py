"""Layers against torch's own attention, and the embedding of places against its formula."""

import math

import pytest
import torch

from stages.mdetr import transformer
from tests.tiny import mdetr as tiny


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (5, 3)])
def test_places_are_those_of_the_formula(height: int, width: int) -> None:
    found = transformer.positions(height, width, tiny.WIDTH)
    assert found.shape == (height * width, tiny.WIDTH)
    assert torch.allclose(found, tiny.places_of(height, width), atol=1e-5)


def test_the_last_row_and_column_are_at_a_full_turn() -> None:
    last = transformer.positions(4, 9, 256)[-1].reshape(2, 64, 2)
    assert torch.allclose(last[0], last[1], atol=1e-5), "rows, then columns"
    assert last[0, 0] == pytest.approx([0, 1], abs=1e-5)
    # The wave of the next pair is longer by 10000 to the power of 2 / 128.
    angle = 2 * math.pi / 10_000 ** (2 / 128)
    assert last[0, 1] == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_an_encoder_is_that_of_torchs_own_parts_and_filling_changes_nothing() -> None:
    model, weights = tiny.reference("resnet"), tiny.state("resnet")
    lengths = (5, 9, 1)
    rows, places = noise(3, 9, tiny.WIDTH), noise(3, 9, tiny.WIDTH, seed=1)
    real = torch.arange(9) < torch.tensor(lengths)[:, None]
    found = transformer.encode(weights, rows, places, real, tiny.LAYERS)
    for n, length in enumerate(lengths):
        expected = rows[n, :length]
        for layer in model.transformer["encoder"]["layers"]:
            expected = tiny.encoder_layer(layer, expected, places[n, :length])
        assert torch.allclose(found[n, :length], expected, atol=1e-5)


@torch.inference_mode()
def test_a_decoder_is_that_of_torchs_own_parts_and_filling_changes_nothing() -> None:
    model, weights = tiny.reference("resnet"), tiny.state("resnet")
    lengths = (5, 9, 1)
    rows, places = noise(3, 9, tiny.WIDTH), noise(3, 9, tiny.WIDTH, seed=1)
    asked = noise(4, tiny.WIDTH, seed=2)
    real = torch.arange(9) < torch.tensor(lengths)[:, None]
    found = transformer.decode(weights, rows, places, real, asked, tiny.LAYERS)
    for n, length in enumerate(lengths):
        expected = torch.zeros_like(asked)
        for layer in model.transformer["decoder"]["layers"]:
            expected = tiny.decoder_layer(
                layer, expected, asked, rows[n, :length], places[n, :length]
            )
        expected = model.transformer["decoder"]["norm"](expected)
        assert torch.allclose(found[n], expected, atol=1e-5)


@torch.inference_mode()
def test_places_go_into_queries_and_keys_but_not_into_values() -> None:
    weights = tiny.state("resnet")
    row, real = noise(1, 1, tiny.WIDTH), torch.ones(1, 1, dtype=torch.bool)
    here, there = (noise(1, 1, tiny.WIDTH, seed=n) for n in (3, 4))
    one, other = (transformer.encode(weights, row, place, real, 1) for place in (here, there))
    # A token that is alone gets its own value back, wherever it is.
    assert torch.allclose(one, other, atol=1e-6)
