from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from grand_pipeline.errors import MissingDependencyError, SettingsError
from grand_pipeline.types import FloatArray
from stages import ram, ram_layout, ram_swin
from stages.ram_layout import Design, Kind
from tests.tiny import ram as tiny
from tests.tiny.records import ODD_SIZES, record

LARGE, BASE = (6, 12, 24, 48), (4, 8, 16, 32)
PUBLISHED: dict[Kind, tuple[Design, int]] = {
    kind: (Design(kind, tags, channels, (2, 2, 18, 2), heads, 12, 4, 768, 3072, context), count)
    for kind, tags, channels, heads, context, count in (
        ("ram", 4585, 192, LARGE, 512, 212_117_045),
        ("ram_plus", 4585, 192, LARGE, 512, 329_493_046),
        ("tag2text", 3429, 128, BASE, 1024, 107_111_133),
    )
}
SWIN_MILLIONS = {192: 197, 128: 88}
"""Channels -> millions of parameters in the Swin paper's table, with its head of 1000 classes."""
SIZES = ((40, 60), *ODD_SIZES, (900, 1300))


def pixels(image: Image.Image) -> FloatArray:
    """Squashed, scaled, in units of ImageNet's mean and spread: (3, side, side)."""
    small = image.convert("RGB").resize((tiny.SIDE, tiny.SIDE), Image.Resampling.BILINEAR)
    mean, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((np.asarray(small) / 255 - mean) / spread).transpose(2, 0, 1)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_published_file_loads_and_answers_as_the_published_module(kind: str) -> None:
    model = ram.load(tiny.checkpoint(kind), "cpu")
    images = [record(size, seed=n).image for n, size in enumerate(SIZES)]
    found = model.chances(images)
    assert found.shape == (len(SIZES), len(tiny.TAGS)) and found.dtype == np.float32
    for row, image in zip(found, images, strict=True):
        expected = 1 / (1 + np.exp(-tiny.logits(kind, tiny.state(kind), pixels(image))))
        assert row == pytest.approx(expected, abs=1e-5)
    assert found.std(axis=0).max() > 0.01, "the image has a say"


def test_the_swin_agrees_with_windows_taken_one_by_one() -> None:
    arrays = tiny.state("ram")
    state = {key: torch.from_numpy(value) for key, value in arrays.items()}
    model = ram_layout.design({k: tuple(v.shape) for k, v in state.items()}, "here")
    needed = {key: state[key] for key in ram_layout.weights(model)}
    image = np.random.default_rng(5).normal(size=(3, tiny.SIDE, tiny.SIDE)).astype(np.float32)
    with torch.inference_mode():
        ours = ram_swin.load(model, needed)(torch.from_numpy(image)[None]).last_hidden_state[0]
    assert np.abs(ours.numpy() - tiny.swin(arrays, image)).max() < 2e-5
    # The order of the four neighbours that are merged is seen: with two exchanged it is another.
    key = "visual_encoder.layers.0.downsample.reduction.weight"
    a, b, c, d = np.split(arrays[key], 4, axis=1)
    exchanged = {**arrays, key: np.concatenate([a, c, b, d], axis=1)}
    assert np.abs(ours.numpy() - tiny.swin(exchanged, image)).max() > 1e-2


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_says_nearly_the_same(kind: str, dtype: str) -> None:
    images = [record(size, seed=n).image for n, size in enumerate(SIZES)]
    full = ram.load(tiny.checkpoint(kind), "cpu").chances(images)
    half = ram.load(tiny.checkpoint(kind), "cpu", dtype).chances(images)
    assert half.dtype == np.float32
    assert half == pytest.approx(full, abs=0.05)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_published_sizes_have_the_published_number_of_parameters(kind: Kind) -> None:
    model, parameters = PUBLISHED[kind]
    shapes = ram_layout.weights(model)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == parameters
    assert model.side == 384
    assert ram_layout.design(shapes, "here") == model, "the sizes are told by the shapes"
    ram_layout.check(shapes, model, "here")
    with torch.device("meta"):
        swin = ram_swin.build(model)
        state = {key: torch.empty(shape) for key, shape in shapes.items()}
    inside = {name: tuple(weight.shape) for name, weight in swin.named_parameters()}
    assert {k: tuple(v.shape) for k, v in ram_swin.translated(state).items()} == inside
    inner = sum(weight.numel() for weight in swin.parameters())
    own = sum(int(np.prod(s)) for k, s in shapes.items() if not k.startswith(ram_swin.ROOT))
    assert own + inner == parameters
    assert round((inner + 1000 * (model.features + 1)) / 1e6) == SWIN_MILLIONS[model.channels]


def test_the_older_name_of_the_decoder_is_known(tmp_path: Path) -> None:
    path = tiny.save(tiny.state("tag2text", old_names=True), tmp_path / "old.pth")
    image = record().image
    same = ram.load(tiny.checkpoint("tag2text"), "cpu").chances([image])
    assert ram.load(path, "cpu").chances([image]) == pytest.approx(same)


def test_a_bare_table_in_the_format_before_zip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    table = {key: torch.from_numpy(np.array(value)) for key, value in tiny.state("ram").items()}
    torch.save(table, path, _use_new_zipfile_serialization=False)
    image = record().image
    same = ram.load(tiny.checkpoint("ram"), "cpu").chances([image])
    assert ram.load(str(path), "cpu").chances([image]) == pytest.approx(same)


def _without(key: str) -> Callable[[tiny.Arrays], tiny.Arrays]:
    return lambda arrays: {k: v for k, v in arrays.items() if k != key}


def _with(key: str, value: Any) -> Callable[[tiny.Arrays], tiny.Arrays]:
    return lambda arrays: {**arrays, key: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("fc.bias"), r"layout of ram: 1 missing: fc\.bias"),
        (_without("visual_encoder.layers.1.blocks.1.mlp.fc2.weight"), r"1 missing: .*fc2\.weight"),
        (_without("label_embed"), r"no checkpoint of RAM.*lacks label_embed"),
        (_with("label_embed", np.float32(0)), r"no checkpoint of RAM.*lacks label_embed"),
        (_with("itm_head.weight", np.zeros(3, np.float32)), r"1 unknown: itm_head\.weight"),
        (_with("fc.weight", np.zeros((2, 16), np.float32)), r"fc\.weight \(2, 16\), not \(1, 16\)"),
    ],
)
def test_what_is_not_exactly_the_published_layout_is_refused(
    change: Callable[[tiny.Arrays], tiny.Arrays], message: str, tmp_path: Path
) -> None:
    path = tiny.save(change(tiny.state("ram")), tmp_path / "changed.pth")
    with pytest.raises(SettingsError, match=message):
        ram.load(path, "cpu")


def test_only_weights_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pth"
    torch.save({"model": {"x": Path("not a tensor")}}, path)
    with pytest.raises(SettingsError, match=r"can not be read as weights alone"):
        ram.load(str(path), "cpu")
    path.write_bytes(b"nothing that anybody knows")
    with pytest.raises(SettingsError, match=r"foreign\.pth' can not be read"):
        ram.load(str(path), "cpu")
    torch.save([1, 2], path)
    with pytest.raises(SettingsError, match="no table of weights"):
        ram.load(str(path), "cpu")
    with pytest.raises(SettingsError, match=r"absent\.pth' does not exist.*recognize-anything"):
        ram.load("absent.pth", "cpu")


def test_a_library_with_other_names_is_told_from_a_bad_file() -> None:
    state = {key: torch.from_numpy(value) for key, value in tiny.state("ram").items()}
    model = ram_layout.design({k: tuple(v.shape) for k, v in state.items()}, "here")
    with pytest.raises(MissingDependencyError, match=r"transformers==5\.23"):
        ram_swin.load(model, {"visual_encoder.norm.weight": state["visual_encoder.norm.weight"]})
