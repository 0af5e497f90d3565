import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages import closed_set, pixels
from tests.tiny.checkpoints import Builder, checkpoint, clip
from tests.tiny.detectors import LABELS, d_fine, deformable_detr, detr, rt_detr_v2
from tests.tiny.records import ODD_SIZES, record

BUILDERS = [detr, deformable_detr, rt_detr_v2, d_fine]
SIZES = ((40, 60), (60, 40), (41, 61), *ODD_SIZES)


@pytest.mark.parametrize("build", BUILDERS)
def test_scores_and_boxes_are_those_of_the_published_post_processing(build: Builder) -> None:
    model, image = closed_set.load(checkpoint(build), "cpu", "float32"), record().image
    assert model.labels == tuple(LABELS.values())
    (batch,) = pixels.by_shape(model.processor, [image], "cpu", torch.float32)
    with torch.inference_mode():
        out = model.model(**batch.inputs)
    whole = model.processor.post_process_object_detection(
        out, threshold=0.0, target_sizes=[(40, 60)]
    )[0]
    (found,) = model.score([image], [(40, 60)])
    assert len(whole["scores"])
    for score, label, box in zip(whole["scores"], whole["labels"], whole["boxes"], strict=True):
        here = np.abs(found.boxes - box.numpy().clip(0, [60, 40, 60, 40])).max(axis=1) < 1e-3
        assert np.abs(found.scores[here, int(label)] - float(score)).min() < 1e-5


def test_a_model_that_chooses_gives_one_class_per_box() -> None:
    model = closed_set.load(checkpoint(detr), "cpu", "float32")
    (found,) = model.score([record().image], [(40, 60)])
    assert ((found.scores > 0).sum(axis=1) == 1).all()


@pytest.mark.parametrize("build", BUILDERS)
def test_batch_of_odd_images_equals_single(build: Builder) -> None:
    model = closed_set.load(checkpoint(build), "cpu", "float32")
    images = [record(size, seed=i).image for i, size in enumerate(SIZES)]
    images += [Image.new("RGB", (60, 40), (128, 128, 128)), Image.new("RGB", (4000, 9))]
    sizes = [(image.height, image.width) for image in images]
    for image, size, found in zip(images, sizes, model.score(images, sizes), strict=True):
        (alone,) = model.score([image], [size])
        assert np.allclose(found.scores, alone.scores, atol=1e-4)
        assert np.allclose(found.boxes, alone.boxes, atol=0.05)
        assert (found.boxes >= 0).all() and (found.boxes <= [size[1], size[0]] * 2).all()


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_sane_numbers(build: Builder, dtype: str) -> None:
    model = closed_set.load(checkpoint(build), "cpu", dtype)
    (found,) = model.score([record().image], [(40, 60)])
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert np.isfinite(found.scores).all() and found.scores.any()
    assert (found.boxes >= 0).all() and (found.boxes <= [60, 40, 60, 40]).all()


def test_another_architecture_is_refused() -> None:
    with pytest.raises(SettingsError, match="can not be loaded as AutoModelForObjectDetection"):
        closed_set.load(checkpoint(clip), "cpu", "float32")


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_a_checkpoint_that_needs_timm_says_so(tmp_path: Path) -> None:
    for file in Path(checkpoint(detr)).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["backbone_config"] = {"model_type": "timm_backbone", "backbone": "resnet50"}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(MissingDependencyError, match="timm"):
        closed_set.load(str(tmp_path), "cpu", "float32")
