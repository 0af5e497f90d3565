"""The network: its size, what a concept is, what may look at what."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tiny import xvlm
from training.models.xvlm.network import (
    Architecture,
    Fused,
    parameter_count,
    patches_in,
    regions,
    waves,
    whole,
)


def test_the_published_model_has_215_6_million_parameters() -> None:
    assert parameter_count(Architecture()) == pytest.approx(215.6e6, rel=0.0005)
    assert (Architecture().grid ** 2, Architecture().width) == (49, 1024)


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ((0.5, 0.5, 1.0, 1.0), set(range(16))),
        ((0.25, 0.25, 0.5, 0.5), {0, 1, 4, 5}),  # edges on borders of cells
        ((0.3, 0.3, 0.5, 0.5), {0, 1, 2, 4, 5, 6, 8, 9, 10}),  # touched cells count
        ((0.6, 0.1, 0.0, 0.0), {2}),  # at least one cell
        ((1.0, 1.0, 0.0, 0.0), {15}),
    ],
)
def test_a_cell_belongs_to_a_box_that_touches_it(box: tuple[float, ...], cells: set[int]) -> None:
    held = patches_in(torch.tensor([box]), 4)
    assert set(held[0].nonzero()[:, 0].tolist()) == cells


def test_a_concept_is_its_mean_and_its_patches() -> None:
    patches = torch.arange(8.0).reshape(1, 4, 2)
    part = regions(patches, torch.tensor([[True, False, True, False]]))
    assert part.states[0, 0].tolist() == [2.0, 3.0]
    assert part.mask.tolist() == [[True, True, False, True, False]]
    assert whole(patches).states[0, 0].tolist() == [3.0, 4.0]


def test_patches_outside_of_a_concept_are_not_seen() -> None:
    model = xvlm.network()
    texts = model.read(*xvlm.texts(2))
    patches = model.see(xvlm.pixels(2))
    inside = patches_in(torch.tensor([[0.25, 0.25, 0.5, 0.5]] * 2), model.sizes.grid)
    changed = torch.where(inside[..., None], patches, patches + 1)
    before = model.match(model.fuse(texts, regions(patches, inside)))
    torch.testing.assert_close(
        model.match(model.fuse(texts, regions(changed, inside))), before, rtol=1e-5, atol=1e-6
    )
    assert not torch.allclose(model.match(model.fuse(texts, whole(changed))), before, atol=1e-4)


def test_padding_changes_nothing() -> None:
    model = xvlm.network()
    tokens, mask = xvlm.texts(2)
    longer = torch.nn.functional.pad(tokens, (0, 3)), torch.nn.functional.pad(mask, (0, 3))
    seen = whole(model.see(xvlm.pixels(2)))
    short, long = model.read(tokens, mask), model.read(*longer)
    torch.testing.assert_close(
        model.locate(model.fuse(short, seen)), model.locate(model.fuse(long, seen))
    )
    torch.testing.assert_close(model.project_texts(short), model.project_texts(long))


def test_boxes_are_fractions_and_projections_unit_vectors() -> None:
    model = xvlm.network()
    concepts, texts = whole(model.see(xvlm.pixels(3))), model.read(*xvlm.texts(3))
    boxes = model.locate(model.fuse(texts, concepts))
    assert boxes.shape == (3, 4) and bool(((boxes > 0) & (boxes < 1)).all())
    for vectors in model.project(concepts, texts):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_attention_has_gradients_of_a_match() -> None:
    model = xvlm.network()
    fused = model.attend(model.read(*xvlm.texts(2)), whole(model.see(xvlm.pixels(2))))
    assert [tuple(layer.shape) for layer in fused.attention] == [(2, 2, 4, 17)] * 2
    (slope,) = torch.autograd.grad(model.match(fused)[:, 1].sum(), fused.attention[0])
    assert float(slope.abs().sum()) > 0


def test_words_are_guessed_with_the_embeddings() -> None:
    model = xvlm.network()
    assert model.guess(torch.zeros(3, model.sizes.hidden)).shape == (3, model.sizes.vocabulary)
    names = [name for name, _ in model.named_parameters() if "word" in name]
    assert "embeddings.words.weight" in names and "word_bias" in names


def test_a_reduced_published_model_takes_a_step() -> None:
    sizes = replace(Architecture(), depths=(1, 1, 1, 1), text_layers=1, fusion_layers=1)
    model = xvlm.network(sizes)
    seen = whole(model.see(torch.randn(1, 3, 224, 224)))
    assert seen.states.shape == (1, 50, 1024)
    fused = model.fuse(model.read(torch.tensor([[101, 2417, 102]]), torch.ones(1, 3).long()), seen)
    torch.autograd.backward(model.match(Fused(fused.states)).sum() + model.locate(fused).sum())
    weight = model.vision.embeddings.patch_embeddings.projection.weight
    assert float(weight.grad.abs().sum()) > 0


def test_positions_begin_as_waves_and_all_differ() -> None:
    table = xvlm.network().vision.embeddings.position_embeddings[0]
    assert table.tolist() == waves(8, 16).tolist()
    assert len(torch.unique((table * 1e4).round(), dim=0)) == 64


def test_short_texts_apart_are_what_they_are_among_long_ones() -> None:
    model = xvlm.network()
    tokens = torch.randint(5, 20, (4, 9))
    mask = torch.arange(9) < torch.tensor([3, 9, 5, 7])[:, None]
    texts = model.read(tokens, mask)
    concepts = whole(model.see(xvlm.pixels(4)))
    fused = model.fuse(texts, concepts).states
    for row, length in enumerate((3, 9, 5, 7)):
        alone = model.read(tokens[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(texts.states[row, :length], alone.states[0])
        seen = model.attend(alone, concepts.take(torch.tensor([row]))).states[0]
        torch.testing.assert_close(fused[row, :length], seen)
    none = model.read(tokens[:0], mask[:0])
    assert model.fuse(none, concepts.take(torch.arange(0))).states.shape == (
        0,
        9,
        model.sizes.hidden,
    )
