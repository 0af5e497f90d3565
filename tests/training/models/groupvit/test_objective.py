"""The objective: what of a batch meets which loss, beside numpy and over two ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import groupvit
from tests.training import two_ranks
from tests.training.models.groupvit import ranks
from training.models.groupvit.losses import contrastive
from training.models.groupvit.objective import NOTHING, Batch, objective


def test_captions_and_words_have_losses_of_their_own() -> None:
    batch = ranks.batch()
    model = groupvit.network()
    found = objective(model, batch)
    images = model.project_images(model.vision(batch.pixels).features)
    features = model.text(batch.tokens.flatten(0, 1), batch.mask.flatten(0, 1))
    texts = model.project_texts(features).reshape(4, 3, -1)
    captions = contrastive(images, texts[:, :1], torch.tensor([1 / 0.07]))
    words = contrastive(images, texts[:, 1:], torch.tensor([1 / 0.07]))
    torch.testing.assert_close(found["captions"], captions)
    torch.testing.assert_close(found["words"], words)
    torch.testing.assert_close(found["loss"], captions + words)
    half = objective(model, batch, weight=0.5)["loss"]
    torch.testing.assert_close(half, captions + words / 2)
    assert "words" not in objective(model, batch, weight=0.0)
    present = objective(model, batch, presence_weight=2.0)
    torch.testing.assert_close(present["loss"], captions + words + 2 * present["presence"])
    assert present["presence"].item() > 0


def test_a_text_belongs_to_every_picture_of_which_it_is_said() -> None:
    batch, model = ranks.batch(), groupvit.network()
    # Nothing is said twice: sharing changes nothing.
    plain, shared = objective(model, batch), objective(model, batch, share=True)
    torch.testing.assert_close(plain["words"], shared["words"])
    held = batch.held.clone()
    held[0, 3] = batch.said[2, 1]
    said = objective(model, replace(batch, held=held), share=True)
    torch.testing.assert_close(said["captions"], plain["captions"])
    belongs = torch.zeros(4, 4, 2, dtype=torch.bool)
    belongs[0, 2, 0] = True
    images = model.project_images(model.vision(batch.pixels).features)
    features = model.text(batch.tokens.flatten(0, 1), batch.mask.flatten(0, 1))
    texts = model.project_texts(features).reshape(4, 3, -1)[:, 1:]
    wanted = contrastive(images, texts, torch.tensor([1 / 0.07]), belongs)
    torch.testing.assert_close(said["words"], wanted)


def test_every_parameter_learns() -> None:
    model = groupvit.network().train()
    torch.manual_seed(0)
    torch.autograd.backward(objective(model, ranks.batch())["loss"])
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_padding_of_held_is_nothing_that_is_said() -> None:
    batch: Batch = ranks.batch()
    assert bool((batch.held == NOTHING).any()) and bool((batch.said != NOTHING).all())


def test_two_ranks_have_the_gradient_of_one(tmp_path: Path) -> None:
    two_ranks.run("tests.training.models.groupvit.ranks", tmp_path)
    found = load_file(tmp_path / "gradients.safetensors")
    for name, alone in ranks.gradients(0, 1).items():
        np.testing.assert_allclose(found[name], alone, rtol=1e-3, atol=3e-4, err_msg=name)
    assert found.keys() == ranks.gradients(0, 1).keys()


@pytest.mark.parametrize("groups", [(), (6, 3)])
def test_the_baseline_is_trained_alike(groups: tuple[int, ...]) -> None:
    sizes = replace(groupvit.SIZES, depths=(1,) * (len(groups) + 1), groups=groups)
    assert objective(groupvit.network(sizes), ranks.batch()).keys() == {"loss", "captions", "words"}
