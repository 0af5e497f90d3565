import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages import closed_set, pixels
from tests.tiny.checkpoints import Builder, checkpoint, clip
from tests.tiny.detectors import LABELS, d_fine, deformable_detr, detr, rt_detr_v2
from tests.tiny.records import record

BUILDERS = [detr, deformable_detr, rt_detr_v2, d_fine]


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
