from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from grand_pipeline import geometry
from grand_pipeline.errors import MissingDependencyError, SettingsError
from grand_pipeline.types import Size
from stages import sam, sam_original
from tests.tiny.records import record
from tests.tiny.segment_anything import RADII, SIDE, Model, Package


def saved(folder: Path, width: int = 768, name: str = "sam_vit_b_01ec64.pth") -> Path:
    torch.save(Model(width).state_dict(), folder / name)
    return folder / name


@pytest.mark.parametrize("size", [(40, 60), (128, 32), (48, 48)])
def test_prompts_and_masks_are_in_pixels_of_the_image(tmp_path: Path, size: Size) -> None:
    model = sam.Sam(sam_original.load(saved(tmp_path), "cpu", "float32", Package()))
    height, width = size
    (embedded,) = model.embed([record(size).image], [size])
    box = np.array([[width / 4, height / 4, width, height / 2]], np.float32)
    (mask,) = model.full(embedded, model.by_boxes(embedded, box, 8)[0])
    found = geometry.rle_box(geometry.rle_encode(mask))
    pixel = 2 * max(size) / SIDE + 1  # of the mask's grid
    assert np.allclose(found, box[0], atol=pixel)


def test_points_give_three_masks_around_them(tmp_path: Path) -> None:
    model = sam.Sam(sam_original.load(saved(tmp_path), "cpu", "float32", Package()))
    (embedded,) = model.embed([record((64, 64)).image], [(64, 64)])
    logits, scores = model.by_points(embedded, np.array([[32, 32]], np.float32))
    areas = (logits > 0).sum((-1, -2))[0].tolist()
    assert areas == [int(radius) ** 2 for radius in RADII] and scores.shape == (1, 3)


@pytest.mark.parametrize(("width", "name"), sam_original.WIDTHS.items())
def test_the_architecture_is_told_by_the_weights(tmp_path: Path, width: int, name: str) -> None:
    built: list[str] = []

    class Noting:
        sam_model_registry = {  # noqa: RUF012  # as in the package
            name: lambda name=name, make=make: built.append(name) or make()
            for name, make in Package.sam_model_registry.items()
        }

    sam_original.load(saved(tmp_path, width, "renamed.pth"), "cpu", "float32", Noting())
    assert built == [name]


def test_other_files_are_one_clear_error(tmp_path: Path) -> None:
    def load(path: Path) -> None:
        sam_original.load(path, "cpu", "float32", Package())

    with pytest.raises(SettingsError, match="does not exist"):
        load(tmp_path / "nothing.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(SettingsError, match="can not be read as weights"):
        load(tmp_path / "text.pth")
    torch.save({"model": {}}, tmp_path / "sam2.pth")
    with pytest.raises(SettingsError, match="no image encoder of a known width"):
        load(tmp_path / "sam2.pth")
    torch.save({**Model(768).state_dict(), "mask_decoder.hf_token.weight": 0}, tmp_path / "hq.pth")
    with pytest.raises(SettingsError, match=r"does not fit vit_b.*sam-hq-vit-base"):
        load(tmp_path / "hq.pth")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"image_encoder.pos_embed": Path("anything")}, tmp_path / "sam.pth")
    with pytest.raises(SettingsError, match="can not be read as weights"):
        sam_original.load(tmp_path / "sam.pth", "cpu", "float32", Package())


@pytest.mark.skipif(
    importlib.util.find_spec("segment_anything") is not None, reason="the package is installed"
)
def test_without_the_package_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[segment-anything\]"):
        sam.load(str(saved(tmp_path)), "cpu")
