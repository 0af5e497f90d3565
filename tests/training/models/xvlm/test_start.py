"""Initial weights: a BERT taken apart computes what it did as one; what does not fit is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from grand_pipeline.errors import MissingDependencyError, SettingsError
from tests.tiny import xvlm
from training.models.xvlm.network import Texts, Xvlm, swin_config
from training.models.xvlm.start import RANDOM, look_where_similar, start

SIZES = replace(xvlm.SIZES, text_layers=2, fusion_layers=1)


def _bert(layers: int = 3) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=layers,
        max_position_embeddings=16,
        initializer_range=0.3,
    )
    return BertForMaskedLM(config).eval()


@pytest.fixture
def bert(tmp_path: Path) -> tuple[Any, str]:
    model = _bert()
    model.save_pretrained(tmp_path / "bert")
    return model, str(tmp_path / "bert")


def test_the_first_layers_read_as_the_bert_they_come_from(bert: tuple[Any, str]) -> None:
    whole, folder = bert
    model = Xvlm(SIZES).eval()
    start(model, RANDOM, folder)
    tokens, mask = xvlm.texts(3)
    mask[0, 2:] = 0
    with torch.no_grad():
        states = whole.bert(
            input_ids=tokens, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        ours = model.read(tokens, mask)
    kept = mask.bool()
    torch.testing.assert_close(ours.states[kept], states[2][kept], rtol=1e-4, atol=1e-5)


def test_the_last_layers_and_the_head_go_on_where_those_end(bert: tuple[Any, str]) -> None:
    whole, folder = bert
    model = Xvlm(SIZES).eval()
    start(model, RANDOM, folder)
    tokens, mask = xvlm.texts(3)
    # Without its look at the picture the fusion encoder is the rest of the BERT.
    for layer in model.fusion:
        layer.cross = None
    with torch.no_grad():
        expected = whole(input_ids=tokens, attention_mask=mask).logits
        states = model.read(tokens, mask).states
        for layer in model.fusion:
            states = layer(states, mask)
        ours = model.guess(Texts(states, mask).states)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_a_swin_is_taken_whole(tmp_path: Path) -> None:
    from transformers import SwinModel

    torch.manual_seed(6)
    swin = SwinModel(swin_config(SIZES)).eval()
    swin.save_pretrained(tmp_path / "swin")
    model = Xvlm(SIZES).eval()
    start(model, str(tmp_path / "swin"), RANDOM)
    with torch.no_grad():
        expected = swin(pixel_values=xvlm.pixels(2)).last_hidden_state
        torch.testing.assert_close(model.see(xvlm.pixels(2)), expected)


def test_weights_of_other_sizes_are_named(bert: tuple[Any, str], tmp_path: Path) -> None:
    _bert(2).save_pretrained(tmp_path / "short")
    with pytest.raises(SettingsError, match=r"do not fit.*fusion\.0\..*is missing"):
        start(Xvlm(SIZES), RANDOM, str(tmp_path / "short"))
    with pytest.raises(SettingsError, match=r"embeddings\.norm\.bias is \(16,\) and should be"):
        start(Xvlm(replace(SIZES, hidden=32)), RANDOM, bert[1])


def test_missing_weights_are_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingDependencyError, match="train with 'random'"):
        start(Xvlm(SIZES), str(empty), RANDOM)


def test_a_fresh_cross_attention_can_look_where_text_and_patch_are_similar() -> None:
    model = Xvlm(replace(xvlm.SIZES, hidden=48, heads=3)).eval()
    for part in (model.text_projection, model.concept_projection):
        torch.nn.init.normal_(part.weight)
    look_where_similar(model, 2.0)
    rng = torch.Generator().manual_seed(3)
    states, patches = (torch.randn(400, width, generator=rng) for width in (48, 32))
    with torch.no_grad():
        similar = model.text_projection(states) @ model.concept_projection(patches).T
        cross: Any = model.fusion[0].cross
        # Every head looks with two copies of the eight channels of a projection.
        query, key = (
            part.unflatten(1, (3, 16)) for part in (cross.query(states), cross.key(patches))
        )
    logits = torch.einsum("rhd,thd->hrt", query, key) / 4
    for head in logits:
        torch.testing.assert_close(
            head, similar * (head.norm() / similar.norm()), rtol=1e-3, atol=1e-4
        )
        assert float(head.std(1).mean()) == pytest.approx(2.0, rel=0.6)
