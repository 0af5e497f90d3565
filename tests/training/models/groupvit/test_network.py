"""The network: published sizes, the library's GroupViT, the plain ViT, texts, other resolutions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import GroupViTVisionConfig, GroupViTVisionModel

from tests.tiny import groupvit
from training.models.groupvit.layers import BatchNorm, Block
from training.models.groupvit.network import Architecture, GroupVit, parameter_count

_NAMES = (
    ("vision_model.", ""),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.patch_embeddings.projection", "patches"),
    ("embeddings.layernorm", "patch_norm"),
    ("encoder.", ""),
    ("layernorm", "norm"),
    (".layers.", ".blocks."),
    (".self_attn.", ".attention."),
    (".layer_norm1", ".norm_1"),
    (".layer_norm2", ".norm_2"),
    (".downsample.", ".grouping."),
    (".group_projector.0", ".norm"),
    (".group_projector.1", ".mix"),
    (".norm_tokens", ".norm_groups"),
    (".mlp_inter", ".mix"),
    (".norm_post_tokens", ".norm_mixed"),
    (".norm_x", ".norm_segments"),
    (".pre_assign_attn.attn.", ".attention."),
    (".pre_assign_attn.norm2", ".norm_looked"),
    (".pre_assign_attn.norm_post", ".norm_ready"),
    (".pre_assign_attn.mlp", ".mlp"),
    (".norm_new_x", ".norm_new"),
    (".mlp_channels", ".channels"),
    (".fc1.", ".0."),
    (".fc2.", ".2."),
    (".assign.proj.", ".assign.out."),
)


def _ours(name: str) -> str:
    """A name of the library's GroupViT as it is called here."""
    for theirs, own in _NAMES:
        name = name.replace(theirs, own)
    return re.sub(r"\.(query|key|value|out|q|k|v)_?(?:proj)?\.", _part, name)


def _part(found: re.Match[str]) -> str:
    return f".{ {'q': 'query', 'k': 'key', 'v': 'value'}.get(found[1], found[1]) }."


def test_the_published_model_has_the_published_size() -> None:
    assert parameter_count(Architecture()) == 55_726_610
    with torch.device("meta"):
        model = GroupVit(Architecture())
        plain = GroupVit(Architecture(depths=(12,), groups=()))
    counts = {n: sum(p.numel() for p in part.parameters()) for n, part in model.named_children()}
    assert (counts["vision"], counts["text"]) == (28_837_136, 22_145_792)
    held = sum(p.numel() for p in plain.vision.parameters())
    assert held == pytest.approx(21.67e6, rel=0.001)


def test_the_image_encoder_is_the_librarys_with_other_names() -> None:
    config = GroupViTVisionConfig(
        hidden_size=16,
        intermediate_size=64,
        depths=[2, 1, 1],
        num_hidden_layers=4,
        num_group_tokens=[6, 3, 0],
        num_output_groups=[6, 3, 0],
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    torch.manual_seed(0)
    library = GroupViTVisionModel(config).eval()
    for parameter in library.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    vision = groupvit.network().vision
    vision.load_state_dict({_ours(name): value for name, value in library.state_dict().items()})
    wanted = library(groupvit.pixels(2), output_attentions=True)
    seen = vision(groupvit.pixels(2))
    torch.testing.assert_close(seen.segments, wanted.last_hidden_state, rtol=1e-4, atol=1e-5)
    assert [one.shape for one in seen.assignments] == [(2, 6, 16), (2, 3, 6)]
    for soft in seen.assignments:
        torch.testing.assert_close(soft.sum(1), torch.ones(soft.shape[0], soft.shape[2]))


def test_a_text_is_read_at_its_last_token_and_no_further() -> None:
    text = groupvit.network().text
    tokens, mask = groupvit.texts(2)
    changed = tokens.clone()
    changed[0, 3:] = 7  # padding
    torch.testing.assert_close(text(tokens, mask), text(changed, mask))
    changed[0, 2] = 7  # the last token
    assert not torch.allclose(text(tokens, mask)[0], text(changed, mask)[0])


def test_other_resolutions_have_their_positions_interpolated() -> None:
    vision = groupvit.network().vision
    small, large = vision(groupvit.pixels(1)), vision(groupvit.pixels(1, 48))
    assert small.assignments[0].shape[2] == 16 and large.assignments[0].shape[2] == 36
    assert large.features.shape == small.features.shape


def test_the_plain_encoder_is_read_at_its_class_token() -> None:
    model = groupvit.network(replace(groupvit.SIZES, depths=(3,), groups=()))
    seen = model.vision(groupvit.pixels(2))
    assert seen.segments.shape == (2, 0, 16) and seen.assignments == ()
    looks = model.vision.class_attention(groupvit.pixels(2))
    assert looks.shape == (2, 2, 16) and bool((looks.sum(2) < 1).all())
    with pytest.raises(ValueError, match="no class token"):
        groupvit.network().vision.class_attention(groupvit.pixels(1))


def test_probabilities_are_those_that_attention_weighs_with() -> None:
    torch.manual_seed(0)
    attention = Block(8, 2).attention
    states = torch.randn(1, 5, 8)
    value = attention.value(states).reshape(1, 5, 2, 4).transpose(1, 2)
    mixed = (attention.probabilities(states) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(states), attention.out(mixed))


def test_skipped_layers_leave_samples_alone() -> None:
    torch.manual_seed(0)
    block, states = Block(8, 2, drop_path=0.5).train(), torch.ones(64, 3, 8)
    same = [bool(torch.equal(a, b)) for a, b in zip(block(states), states, strict=True)]
    assert 4 <= sum(same) <= 30  # a quarter skip both
    assert not torch.equal(block.eval()(states)[0], states[0])


def test_batches_are_normalised_as_torch_does() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(4), torch.nn.BatchNorm1d(4)
    rows: Tensor = torch.randn(9, 4) * 3 + 1
    torch.testing.assert_close(ours(rows), theirs(rows), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.eval()(rows), theirs.eval()(rows), rtol=1e-4, atol=1e-5)


def test_temperatures_are_bounded() -> None:
    model = groupvit.network()
    assert model.scales()[0].item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        model.words_scale.fill_(9.0)
    assert model.scales()[1].item() == 100.0


def test_weights_are_drawn_as_published() -> None:
    model = groupvit.network(replace(groupvit.SIZES, std=0.02, width=64, heads=2))
    state = model.state_dict()
    assert float(state["vision.stages.0.group_token"].std()) == pytest.approx(0.02, rel=0.3)
    assert float(state["vision.stages.1.group_token"].abs().max()) == 0
    assert float(state["vision.positions"].std()) == pytest.approx(0.02, rel=0.3)
    waves = groupvit.network(replace(groupvit.SIZES, waves=True)).vision.positions
    assert float(waves.detach().mean(1).abs().max()) < 1e-6 and float(waves.detach().std()) > 0.3
    apart = groupvit.network(replace(groupvit.SIZES, apart=True, width=64)).state_dict()
    for stage in (0, 1):
        drawn = apart[f"vision.stages.{stage}.group_token"]
        assert float(drawn.std()) == pytest.approx(1, rel=0.15)
