import numpy as np
import pytest
import torch

from stages import pixels
from tests.tiny.detectors import SIDE, detr, rt_detr_v2
from tests.tiny.records import record


def test_images_of_one_shape_run_together_and_no_other_is_padded() -> None:
    _, processor = detr()
    images = [record(size, seed=n).image for n, size in enumerate([(40, 60), (60, 40), (80, 120)])]
    batches = pixels.by_shape(processor, images, "cpu", torch.bfloat16)
    assert [batch.indices for batch in batches] == [(0, 2), (1,)]
    for batch in batches:
        found = batch.inputs["pixel_values"]
        assert found.dtype == torch.bfloat16 and min(found.shape[2:]) == SIDE
        assert len(found) == len(batch.indices)
        assert batch.inputs["pixel_mask"].all()
    alone = pixels.by_shape(processor, images[2:], "cpu", torch.bfloat16)[0]
    assert torch.equal(alone.inputs["pixel_values"], batches[0].inputs["pixel_values"][1:])


def test_squashed_images_have_one_shape_and_no_images_no_batch() -> None:
    _, processor = rt_detr_v2()
    images = [record(size).image for size in ((1, 1), (3, 2000), (500, 3))]
    (batch,) = pixels.by_shape(processor, images, "cpu", torch.float32)
    assert batch.indices == (0, 1, 2)
    assert pixels.by_shape(processor, [], "cpu", torch.float32) == []


def test_boxes_are_scaled_and_cut_to_the_image() -> None:
    relative = torch.tensor([[0.5, 0.5, 0.5, 1.0], [0.9, 0.1, 0.4, 0.4]], dtype=torch.bfloat16)
    found = pixels.to_pixels(relative, (40, 60))
    assert found.dtype == np.float32
    assert found[0] == pytest.approx([15, 0, 45, 40])
    assert found[1] == pytest.approx([42, 0, 60, 12], abs=0.3)
    assert pixels.to_pixels(relative[:0], (40, 60)).shape == (0, 4)
