import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from grand_pipeline import weights
from grand_pipeline.columns import ASSIGNED, INSTANCES
from grand_pipeline.errors import MissingDependencyError, SettingsError
from grand_pipeline.types import Vote
from stages import hub, open_clip
from stages.level2.labels import Labels
from stages.zero_shot import ZeroShot
from tests.tiny.records import ODD_SIZES, instance, record

COLORS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


@dataclass(frozen=True)
class Visual:
    image_size: tuple[int, int] = (6, 6)


class Model:
    """As the package documents a model: an image is its mean colour, a text the colour it names."""

    def __init__(self, dtype: torch.dtype, bias: float | None = None) -> None:
        self.dtype, self.training, self.visual = dtype, True, Visual()
        self.logit_scale = torch.tensor(100.0).log()
        self.logit_bias = None if bias is None else torch.tensor(bias)

    def eval(self) -> "Model":
        self.training = False
        return self

    def encode_image(self, image: Tensor) -> Tensor:
        assert not self.training and image.dtype == self.dtype and image.shape[1:] == (3, 6, 6)
        return image.mean(dim=(2, 3))

    def encode_text(self, text: Tensor) -> Tensor:
        assert text.dtype == torch.long and text.shape[1] == 77
        return torch.tensor([list(COLORS.values())[int(row[0])] for row in text], dtype=self.dtype)


@dataclass
class Package:
    """A stand-in for the module, with the two functions that are used."""

    bias: float | None = None
    error: Exception | None = None
    asked: list[Any] = field(default_factory=list)

    def create_model_from_pretrained(
        self, model_name: str, *, precision: str, device: str
    ) -> tuple[Model, Any]:
        self.asked.append((model_name, precision, device))
        if self.error is not None:
            raise self.error
        kinds = {"fp32": torch.float32, "pure_bf16": torch.bfloat16, "pure_fp16": torch.float16}
        return Model(kinds[precision], self.bias), self.prepare

    def get_tokenizer(self, model_name: str) -> Any:
        self.asked.append(model_name)
        return self.tokenize

    @staticmethod
    def prepare(image: Image.Image) -> Tensor:
        small = np.asarray(image.convert("RGB").resize((6, 6)), np.float32) / 255
        return torch.from_numpy(small).permute(2, 0, 1)

    @staticmethod
    def tokenize(texts: Sequence[str]) -> Tensor:
        rows = torch.zeros(len(texts), 77, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            row[0] = next(n for n, color in enumerate(COLORS) if color in text)
        return rows


def folder(path: Path) -> str:
    (path / open_clip.CONFIG).write_text("{}")
    return f"{weights.OPEN_CLIP}{path}"


def towers(path: Path, package: Package, dtype: hub.Dtype = "float32") -> ZeroShot:
    return ZeroShot(open_clip.load(folder(path), "cpu", dtype, package=package))


def test_a_folder_is_loaded_by_the_documented_functions(tmp_path: Path) -> None:
    package = Package()
    model = towers(tmp_path, package, "bfloat16")
    place = f"local-dir:{tmp_path}"
    assert package.asked == [(place, "pure_bf16", "cpu"), place]
    assert not model.sigmoid and model.towers.side == 6
    assert float(model.towers.scale) == pytest.approx(100)
    assert towers(tmp_path, Package(bias=-10.0)).sigmoid


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_images_and_texts_are_compared(tmp_path: Path, dtype: hub.Dtype) -> None:
    model = towers(tmp_path, Package(), dtype)
    images = [Image.new("RGB", (9, 5), "red"), Image.new("RGB", (1, 1), (0, 0, 255))]
    chances = model.choice(model.images(images), model.texts([f"a {color}" for color in COLORS]))
    assert chances.dtype == torch.float32
    assert chances.argmax(dim=1).tolist() == [0, 2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_labels_are_chosen_by_it(tmp_path: Path, dtype: hub.Dtype) -> None:
    model = towers(tmp_path, Package(), dtype)
    stage = Labels(model=folder(tmp_path), dtype=dtype, template="{}")
    unsure = instance(0, (0.0, 0.0, 1.0, 1.0), "red", Vote("a", "red", 0.5), Vote("b", "blue", 0.5))
    sure = instance(1, (0.0, 0.0, 1.0, 1.0), "green", Vote("a", "green", 0.5))
    sizes = ((40, 60), *ODD_SIZES, (900, 1300))
    records = [record(size, {INSTANCES: (unsure, sure)}, seed=n) for n, size in enumerate(sizes)]
    records.append(record(values={INSTANCES: ()}))
    assert len(records) == 8
    together = stage.annotate(model, records)
    assert together[-1][ASSIGNED] == ()
    for row, one in zip(together, records, strict=True):
        (alone,) = stage.annotate(model, [one])
        assert alone[ASSIGNED] == row[ASSIGNED]


def test_the_folder_decides_what_is_computed_again(tmp_path: Path) -> None:
    name = folder(tmp_path)
    assert weights.resolve(name) == str(tmp_path) and weights.revision(name) is None
    assert weights.digest(name) == weights.digest(str(tmp_path))
    assert weights.digest(name).startswith("sha256:")
    hub = "open_clip:timm/eva02@abc"
    assert (weights.resolve(hub), weights.revision(hub)) == ("timm/eva02", "abc")


def test_what_can_not_be_loaded_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no open_clip_config\.json"):
        open_clip.load(f"open_clip:{tmp_path}", "cpu", package=Package())
    with pytest.raises(SettingsError, match="does not exist"):
        open_clip.load("open_clip:/nowhere", "cpu", package=Package())
    broken = Package(error=RuntimeError("No weights\nmore"))
    with pytest.raises(SettingsError, match=r"by open_clip: No weights\. Give .*timm/eva02"):
        open_clip.load(folder(tmp_path), "cpu", package=broken)
    assert not open_clip.is_named("timm/eva02")


@pytest.mark.skipif(importlib.util.find_spec("open_clip") is not None, reason="it is installed")
def test_the_package_is_named_where_it_is_missing() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'grand-pipeline\[open-clip\]'"):
        Labels(model=open_clip.EXAMPLE).load("cpu")
