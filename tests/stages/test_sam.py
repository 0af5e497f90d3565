import numpy as np
import pytest
import torch

from grand_pipeline.types import Size
from stages import sam
from tests.tiny.checkpoints import checkpoint
from tests.tiny.checkpoints import sam as build
from tests.tiny.records import ODD_SIZES, record

BOXES = np.array([[5, 5, 30, 30], [0, 0, 60, 40], [50, 30, 60, 40]], np.float32)


@pytest.fixture(scope="module")
def model() -> sam.Sam:
    return sam.load(checkpoint(build), "cpu")


def test_box_prompts_give_the_masks_of_the_library(model: sam.Sam) -> None:
    image = record().image
    inputs = model.processor(images=image, input_boxes=[BOXES.tolist()], return_tensors="pt")
    with torch.inference_mode():
        out = model.model(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"].float(),
            multimask_output=False,
        )
    expected = model.processor.post_process_masks(
        out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0][:, 0].numpy()
    (embedded,) = model.embed([image], [(40, 60)])
    logits, scores = model.by_boxes(embedded, BOXES, per_call=2)
    assert (np.stack(model.full(embedded, logits)) == expected).mean() > 0.999
    assert np.allclose(scores, out.iou_scores[0, :, 0].clamp(0, 1), atol=1e-5)


def test_point_prompts_give_the_logits_of_the_library(model: sam.Sam) -> None:
    image = record((60, 40)).image
    points = np.array([[3, 4], [39, 59]], np.float32)
    inputs = model.processor(
        images=image, input_points=[points[:, None].tolist()], return_tensors="pt"
    )
    with torch.inference_mode():
        out = model.model(
            pixel_values=inputs["pixel_values"], input_points=inputs["input_points"].float()
        )
    (embedded,) = model.embed([image], [(60, 40)])
    logits, scores = model.by_points(embedded, points)
    assert torch.allclose(logits, out.pred_masks[0], atol=1e-4)
    assert scores.shape == (2, 3)


@pytest.mark.parametrize("size", ODD_SIZES)
def test_odd_images_keep_their_size(model: sam.Sam, size: Size) -> None:
    (embedded,) = model.embed([record(size).image], [size])
    box = np.array([[0, 0, size[1], size[0]]], np.float32)
    logits, _ = model.by_boxes(embedded, box, per_call=8)
    (mask,) = model.full(embedded, logits)
    assert mask.shape == size
    assert min(model.cut(embedded, logits).shape[-2:]) >= 1


def test_batch_equals_single(model: sam.Sam) -> None:
    images = [record((40, 60), seed=1).image, record((60, 40), seed=2).image]
    together = model.embed(images, [(40, 60), (60, 40)])
    alone = model.embed(images[1:], [(60, 40)])[0]
    assert torch.allclose(together[1].features, alone.features, atol=1e-5)
    assert together[1].inner == alone.inner == (64, 43)
