"""Towers: sides and colours, what learns, and patches of a SigLIP under its attention alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from grand_pipeline.errors import SettingsError
from tests.tiny import checkpoints
from tests.tiny import densevlm as tiny
from training.models.densevlm.start import vlm
from training.models.densevlm.towers import Tower, built, described


def _siglip() -> tuple[Tower, Any]:
    found = vlm(checkpoints.checkpoint(checkpoints.siglip), tiny.SIZES).tower.eval()
    network: Any = found.network
    return found, network.vision


def _owl() -> Tower:
    return vlm(checkpoints.checkpoint(checkpoints.owl_vit), tiny.SIZES).tower.eval()


@torch.no_grad()
def test_patches_of_a_siglip_are_what_its_attention_gives_of_one_patch() -> None:
    tower, vision = _siglip()
    shown = torch.rand(1, 3, 32, 32)
    states = vision(pixel_values=shown).last_hidden_state
    # A sequence of one patch leaves its attention no choice.
    wanted = torch.stack([vision.head(states[:, n : n + 1])[0] for n in range(states.shape[1])])
    network: Any = tower.network
    torch.testing.assert_close(network.dense(shown)[0].flatten(0, 1), wanted)


@torch.no_grad()
def test_patches_of_an_owl_are_as_its_class_head_compares_them() -> None:
    from transformers import OwlViTForObjectDetection

    owl = OwlViTForObjectDetection.from_pretrained(checkpoints.checkpoint(checkpoints.owl_vit))
    shown = torch.rand(1, 3, 48, 48)
    query = F.normalize(torch.randn(1, 1, 16), dim=2)
    tokens = owl.eval().image_embedder(shown, interpolate_pos_encoding=True)[0].flatten(1, 2)
    head = owl.class_head
    logits, _ = head(tokens, query, torch.ones(1, 1, dtype=torch.bool))
    cosine = logits / (F.elu(head.logit_scale(tokens)) + 1) - head.logit_shift(tokens)
    network: Any = _owl().network
    found = F.normalize(network.dense(shown), dim=3).flatten(1, 2)
    torch.testing.assert_close(found @ query[0, 0], cosine[..., 0], atol=1e-5, rtol=1e-4)


def test_no_tower_holds_scalars() -> None:
    # FSDP cuts parameters into pieces, and refuses those that have no side.
    for tower in (tiny.tower(), _siglip()[0], _owl()):
        assert all(value.dim() for value in tower.parameters())


@torch.no_grad()
def test_a_side_is_made_of_whole_patches_and_features_are_of_length_one() -> None:
    tower = tiny.tower()
    for side, grid in ((0, 4), (32, 4), (47, 5)):
        found = tower.dense(tiny.pixels(2), side)
        assert found.shape == (2, grid, grid, 6)
        torch.testing.assert_close(found.norm(dim=3), torch.ones(2, grid, grid))
    torch.testing.assert_close(tower.embed(tiny.pixels(2)).norm(dim=1), torch.ones(2))


@torch.no_grad()
def test_colours_are_brought_to_what_the_checkpoint_wants() -> None:
    plain = tiny.tower()
    other = Tower(plain.network, 8, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))
    shown = tiny.pixels(1)
    mean, std = torch.tensor([0.5, 0.25, 0.0]), torch.tensor([0.5, 1.0, 2.0])
    network: Any = plain.network
    wanted = network.embed((shown / 255 - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(other.embed(shown), F.normalize(wanted, dim=1))


def test_the_last_blocks_learn_and_nothing_else() -> None:
    tower = tiny.tower()
    tower.freeze(1)
    learning = {name for name, value in tower.named_parameters() if value.requires_grad}
    assert learning and all(name.startswith("network.blocks.1.") for name in learning)
    assert not any(".query." in name or ".key." in name for name in learning)
    tower.freeze()
    assert not any(value.requires_grad for value in tower.parameters())


def test_a_description_makes_a_tower_of_the_same_form() -> None:
    for tower in (tiny.tower(), _siglip()[0]):
        again = built(described(tower))
        again.load_state_dict(tower.state_dict())
        torch.testing.assert_close(again.mean, tower.mean)
        with torch.no_grad():
            shown = tiny.pixels(1)
            torch.testing.assert_close(again.eval().dense(shown), tower.dense(shown))


def test_an_owl_teaches_and_does_not_learn() -> None:
    with pytest.raises(SettingsError, match="teaches and does not learn"):
        described(_owl())
    with pytest.raises(SettingsError, match="there are eva02 and siglip"):
        built({"kind": "owl"})
