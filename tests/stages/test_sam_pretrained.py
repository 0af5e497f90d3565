"""Our calls give what the library's own processors and models give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from grand_pipeline.types import FloatArray
from stages import sam, sam_pretrained
from tests.tiny.checkpoints import Builder, checkpoint
from tests.tiny.masks import sam as plain
from tests.tiny.masks import sam_hq
from tests.tiny.records import record

BOXES = np.array([[5, 5, 30, 30], [0, 0, 60, 40], [50, 30, 60, 40]], np.float32)
POINTS = np.array([[3, 4], [39, 59]], np.float32)


def network(build: Builder) -> sam_pretrained.PretrainedSam:
    return sam_pretrained.load(checkpoint(build), "cpu", "float32")


def of_library(model: sam_pretrained.PretrainedSam, image: Any, **prompt: Any) -> tuple[Any, Any]:
    """What the whole model says, and its prepared inputs."""
    inputs = model.processor(images=image, return_tensors="pt", **prompt)
    given = {k: inputs[k].float() for k in prompt}
    several = "input_points" in prompt
    with torch.inference_mode():
        out = model.model(pixel_values=inputs["pixel_values"], multimask_output=several, **given)
    return out, inputs


@pytest.mark.parametrize("build", [plain, sam_hq])
def test_box_prompts_give_the_masks_of_the_library(build: Builder) -> None:
    live, image = network(build), record().image
    out, inputs = of_library(live, image, input_boxes=[BOXES.tolist()])
    expected = live.processor.post_process_masks(
        out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0][:, 0].numpy()
    model = sam.Sam(live)
    (embedded,) = model.embed([image], [(40, 60)])
    logits, scores = model.by_boxes(embedded, BOXES, per_call=2)
    assert (np.stack(model.full(embedded, logits)) == expected).mean() > 0.999
    assert np.allclose(scores, out.iou_scores[0, :, 0].clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize("build", [plain, sam_hq])
def test_point_prompts_give_the_logits_of_the_library(build: Builder) -> None:
    live, image = network(build), record((60, 40)).image
    out, _ = of_library(live, image, input_points=[POINTS[:, None].tolist()])
    model = sam.Sam(live)
    (embedded,) = model.embed([image], [(60, 40)])
    logits, scores = model.by_points(embedded, POINTS)
    assert torch.allclose(logits, out.pred_masks[0], atol=1e-4)
    assert np.allclose(scores, out.iou_scores[0].clamp(0, 1), atol=1e-5)


def test_sam_hq_reads_what_the_encoder_saw_half_way() -> None:
    live = network(sam_hq)
    model = sam.Sam(live)
    (embedded,) = model.embed([record().image], [(40, 60)])
    boxes: FloatArray = BOXES[:1]
    with torch.inference_mode():
        kept = live.by_boxes(embedded.features, boxes)[0]
        other = live.by_boxes((embedded.features[0], embedded.features[1] + 1), boxes)[0]
    assert not torch.allclose(kept, other, atol=1e-3)
