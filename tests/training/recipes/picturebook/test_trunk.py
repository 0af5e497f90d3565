"""A detector's vision tower as the start of other models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import OwlViTVisionConfig, OwlViTVisionModel

from grand_pipeline.errors import GrandError
from training.recipes.picturebook.captioner import HEADS, LAYERS, PATCH, SIZE, WIDTH
from training.recipes.picturebook.captioner import build as build_blip
from training.recipes.picturebook.export import WEIGHTS
from training.recipes.picturebook.siglip import SCENE
from training.recipes.picturebook.siglip import build as build_siglip
from training.recipes.picturebook.trunk import Memo, load_text, load_tower, start_blip, start_siglip


def _detector(layers: int) -> OwlViTVisionModel:
    torch.manual_seed(0)
    config = OwlViTVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        image_size=SIZE,
        patch_size=PATCH,
        hidden_act="gelu",
        initializer_factor=20.0,
    )
    return OwlViTVisionModel(config).eval()


def _saved(owl: OwlViTVisionModel, folder: Path) -> Path:
    tower = {k.removeprefix("vision_model."): v for k, v in owl.state_dict().items()}
    weights = {f"owlvit.vision_model.{k}": v.contiguous() for k, v in tower.items()}
    save_file(weights, folder / WEIGHTS)
    return folder


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@torch.no_grad()
def test_blip_sees_what_the_detector_sees(tmp_path: Path) -> None:
    owl, vision = _detector(LAYERS), build_blip().vision_model.eval()
    pixels = torch.randn(2, 3, SIZE, SIZE)
    wanted = owl(pixel_values=pixels).last_hidden_state[:, 1:]
    before = vision(pixel_values=pixels).last_hidden_state[:, 1:]
    start_blip(vision, load_tower(_saved(owl, tmp_path)), pixels)
    after = vision(pixel_values=pixels).last_hidden_state[:, 1:]
    assert _correlation(wanted, before) < 0.3 < 0.8 < _correlation(wanted, after)


@torch.no_grad()
def test_siglip_takes_the_first_layers(tmp_path: Path) -> None:
    owl, vision = _detector(SCENE.layers + 1), build_siglip(SCENE).vision_model
    tower = load_tower(_saved(owl, tmp_path))
    head = vision.head.probe.clone()
    start_siglip(vision, tower, torch.randn(2, 3, SIZE, SIZE))
    name = f"encoder.layers.{SCENE.layers - 1}.mlp.fc1.weight"
    assert torch.equal(vision.state_dict()[name], tower[name])
    assert torch.equal(vision.head.probe, head)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GrandError, match="train and export the detector"):
        load_tower(tmp_path)
    save_file({"other": torch.zeros(1)}, tmp_path / WEIGHTS)
    with pytest.raises(GrandError, match="holds no owlvit"):
        load_tower(tmp_path)


def test_the_text_tower_is_read_under_its_full_names(tmp_path: Path) -> None:
    names = ("owlvit.text_model.embeddings.weight", "owlvit.text_projection.weight", "other")
    save_file({name: torch.ones(2) for name in names}, tmp_path / WEIGHTS)
    assert set(load_text(tmp_path)) == set(names[:2])


def test_memo_encodes_each_scene_once_and_forgets_the_oldest() -> None:
    asked: list[int] = []

    def encode(pixels: Tensor) -> Tensor:
        asked.append(len(pixels))
        return pixels

    memo = Memo(keep=2)
    pixels = torch.arange(3.0)[:, None]
    assert memo(encode, pixels[:2], (0, 1)).tolist() == [[0.0], [1.0]]
    assert memo(encode, pixels[1:], (1, 2)).tolist() == [[1.0], [2.0]]
    assert asked == [2, 1] and set(memo.features) == {1, 2}
