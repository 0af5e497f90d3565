"""The captioner's tokenizer, its start from a detector, and the judge of captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import OwlViTVisionConfig, OwlViTVisionModel

from grand_pipeline.errors import GrandError
from grand_pipeline.picturebook.language import caption
from grand_pipeline.picturebook.render import render
from training.recipes.picturebook.caption_scores import check
from training.recipes.picturebook.captioner import (
    HEADS,
    LAYERS,
    PATCH,
    SIZE,
    WIDTH,
    build,
    build_tokenizer,
    make_batch,
    start_from,
)
from training.recipes.picturebook.fit import STATE


def test_captions_survive_the_tokenizer() -> None:
    tokenizer = build_tokenizer()
    for index in range(20):
        text = caption(render(2, index), np.random.default_rng(index)).text
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_captions_start_with_the_decoder_token() -> None:
    batch = make_batch(0, 2)
    start = build_tokenizer().convert_tokens_to_ids("[DEC]")
    assert batch.ids[:, 0].tolist() == [start] * len(batch.ids)


def test_check_finds_false_classes_and_false_colours() -> None:
    scene = next(s for s in (render(2, i) for i in range(50)) if s.kind == "living room")
    thing = scene.things[0]
    wrong = "red" if thing.color != "red" else "blue"
    alike = any(o.name == thing.name and o.color == wrong for o in scene.objects)
    assert check(scene, f"a {thing.color} {thing.name} on the floor") == ([True, True], [True])
    assert check(scene, f"a {wrong} {thing.name}") == ([True], [alike])
    assert check(scene, "two blue boats") == ([False], [False])
    assert check(scene, "nothing known") == ([], [])


def test_start_from_copies_the_layers_of_a_detector(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = OwlViTVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=SIZE,
        patch_size=PATCH,
        hidden_act="gelu",
        initializer_factor=20.0,
    )
    owl = OwlViTVisionModel(config).eval()
    names = {f"ema.owl.owlvit.{k}": v for k, v in owl.state_dict().items()}
    save_file({k: v.contiguous() for k, v in names.items()}, tmp_path / STATE)
    model = build().eval()
    pixels = make_batch(0, 2).pixels
    with torch.no_grad():
        wanted = owl(pixel_values=pixels).last_hidden_state[:, 1:].flatten()
        before = model.vision_model(pixel_values=pixels).last_hidden_state[:, 1:].flatten()
        start_from(model, tmp_path, pixels)
        after = model.vision_model(pixel_values=pixels).last_hidden_state[:, 1:].flatten()
    assert _correlation(wanted, before) < 0.3 < 0.8 < _correlation(wanted, after)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def test_start_from_wants_a_run(tmp_path: Path) -> None:
    with pytest.raises(GrandError, match="train the detector first"):
        start_from(build(), tmp_path, torch.zeros(1, 3, SIZE, SIZE))
