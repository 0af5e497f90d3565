"""Where towers and categories come from: each kind of source, and what is no source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grand_pipeline.errors import MissingDependencyError, SettingsError
from tests.tiny import checkpoints, words
from tests.tiny import densevlm as tiny
from training.models.densevlm import eva02_weights, export
from training.models.densevlm.export import Trained
from training.models.densevlm.start import averaged, vlm

NAMES = ("cat", "sky")


def _read_by_hand(state: dict[str, Tensor], text: str) -> Tensor:
    """Features (P,) by torch's own attention, whose weights lie as open_clip's do."""
    tokens = torch.tensor(words.clip_tokenizer()(text)["input_ids"])
    x = (state["token_embedding.weight"][tokens] + state["positional_embedding"][: len(tokens)])[
        None
    ]
    width = x.shape[2]
    ahead = torch.ones(len(tokens), len(tokens)).triu(1).bool()
    for number in range(2):
        own = {
            k.split(f"resblocks.{number}.")[1]: v for k, v in state.items() if f".{number}." in k
        }
        attention = nn.MultiheadAttention(width, 2, batch_first=True)
        parts = {k.removeprefix("attn."): v for k, v in own.items() if k.startswith("attn.")}
        attention.load_state_dict(parts)
        y = F.layer_norm(x, (width,), own["ln_1.weight"], own["ln_1.bias"])
        x = x + attention(y, y, y, attn_mask=ahead, need_weights=False)[0]
        y = F.layer_norm(x, (width,), own["ln_2.weight"], own["ln_2.bias"])
        y = F.gelu(F.linear(y, own["mlp.c_fc.weight"], own["mlp.c_fc.bias"]))
        x = x + F.linear(y, own["mlp.c_proj.weight"], own["mlp.c_proj.bias"])
    last = F.layer_norm(x[0, -1], (width,), state["ln_final.weight"], state["ln_final.bias"])
    return F.normalize(last @ state["text_projection"], dim=0)


@torch.no_grad()
def test_an_eva02_clip_is_read_with_both_towers(tmp_path: Path) -> None:
    found = vlm(tiny.repository(tmp_path / "eva"), tiny.SIZES)
    for name, value in tiny.network().state_dict().items():
        assert torch.equal(found.tower.network.state_dict()[name], value), name
    wanted = torch.stack([_read_by_hand(tiny.text_state(), f"a {name}") for name in NAMES])
    torch.testing.assert_close(found.embed(NAMES, ("a {}",)), wanted, atol=1e-5, rtol=1e-4)


def test_names_of_the_release_are_known_too() -> None:
    made = tiny.timm_state(tiny.network())
    other = {
        "attn.q_proj.bias": "attn.q_bias",
        "attn.v_proj.bias": "attn.v_bias",
        "attn.norm": "attn.inner_attn_ln",
        "mlp.fc1_g": "mlp.w1",
        "mlp.fc1_x": "mlp.w2",
        "mlp.norm": "mlp.ffn_ln",
        "mlp.fc2": "mlp.w3",
    }
    renamed = {"rope.freqs_cos": torch.zeros(1)}
    for name, value in made.items():
        for old, new in other.items():
            name = name.replace(old, new)
        renamed[name] = value
    found = eva02_weights.image_names(renamed)
    wanted = tiny.network().state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_weights_of_other_sizes_are_named(tmp_path: Path) -> None:
    source = tiny.repository(tmp_path / "eva")
    with pytest.raises(SettingsError, match="no EVA-02-CLIP of the configured sizes"):
        vlm(source, replace(tiny.SIZES, layers=3))
    (tmp_path / "eva" / "open_clip_model.safetensors").unlink()
    with pytest.raises(SettingsError, match="none of open_clip_model"):
        vlm(source, tiny.SIZES)


def test_weights_that_are_not_here_are_one_clear_line() -> None:
    with pytest.raises(MissingDependencyError, match="hf download nobody/nothing"):
        vlm("open_clip:nobody/nothing", tiny.SIZES)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a folder without a model"):
        vlm(str(tmp_path), tiny.SIZES)
    with pytest.raises(SettingsError, match="is a blip; a tower is"):
        vlm(checkpoints.checkpoint(checkpoints.blip), tiny.SIZES)


def test_models_of_transformers_read_categories() -> None:
    for build in (checkpoints.siglip, checkpoints.owl_vit):
        found = vlm(checkpoints.checkpoint(build), tiny.SIZES).embed(NAMES, ("{}",))
        assert found.shape == (2, 16) and not found.requires_grad
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_what_was_trained_teaches_with_the_categories_it_knows(tmp_path: Path) -> None:
    texts = torch.eye(6)[:2]
    export.save(tmp_path, Trained(tiny.tower(), 32, NAMES[:1], NAMES[1:], texts))
    found = vlm(str(tmp_path), tiny.SIZES)
    assert torch.equal(found.embed(NAMES[::-1], ("any {}",)), texts.flip(0))
    with pytest.raises(SettingsError, match="knows its own 2 categories and not 'dog'"):
        found.embed(("dog",), ("{}",))


def test_categories_are_means_over_templates_of_the_length_they_have() -> None:
    table = {"a cat": [1.0, 0.0], "the cat": [0.0, 1.0], "a sky": [1.0, 0.0], "the sky": [1.0, 0.0]}

    def read(texts: Sequence[str]) -> Tensor:
        return torch.tensor([table[text] for text in texts])

    found = averaged(read, NAMES, ("a {}", "the {}"))
    assert found.tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_random_towers_and_categories_need_nothing() -> None:
    found = vlm("random", tiny.SIZES)
    names = tuple(f"name {n}" for n in range(5))
    assert found.embed(names, ("{}",)).shape == (5, 6)
    assert torch.equal(found.embed(names, ("{}",)), found.embed(names, ("{}",)))
