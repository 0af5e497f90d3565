"""What holds for every model of the family, whatever it is inside."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from grand_pipeline.errors import SettingsError
from stages import hub, sam
from tests.tiny import checkpoints
from tests.tiny.masks import SEGMENTERS, segmenter
from tests.tiny.records import record

BOXES = np.array([[5, 5, 30, 30], [0, 0, 60, 40], [50, 30, 60, 40]], np.float32)
POINTS = np.array([[3, 4], [39, 29]], np.float32)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_prompts_in_one_call_or_several_are_answered_alike(name: str) -> None:
    model = segmenter(name)
    (embedded,) = model.embed([record().image], [(40, 60)])
    together, scores = model.by_boxes(embedded, BOXES, per_call=8)
    apart, same = model.by_boxes(embedded, BOXES, per_call=2)
    assert torch.allclose(together, apart, atol=1e-5) and np.allclose(scores, same, atol=1e-5)
    several, qualities = model.by_points(embedded, POINTS)
    assert several.shape[:2] == qualities.shape == (2, 3)
    assert ((qualities >= 0) & (qualities <= 1)).all()


@pytest.mark.parametrize("name", SEGMENTERS)
def test_no_prompts_give_no_masks(name: str) -> None:
    model = segmenter(name)
    (embedded,) = model.embed([record().image], [(40, 60)])
    logits, scores = model.by_boxes(embedded, BOXES[:0], per_call=8)
    assert model.full(embedded, logits) == [] and scores.shape == (0,)


@pytest.mark.parametrize("dtype", [d for d in get_args(hub.Dtype) if d != "float32"])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_half_precision_is_the_encoder_s_alone(name: str, dtype: hub.Dtype) -> None:
    half, whole = segmenter(name, dtype), segmenter(name)
    image = record().image
    (rough,), (exact,) = half.embed([image], [(40, 60)]), whole.embed([image], [(40, 60)])
    for one, other in zip(rough.features, exact.features, strict=True):
        assert one.dtype == torch.float32
        assert 0 < float((one - other).abs().max()) < 0.03 * float(other.abs().max())
    found, expected = (m.by_boxes(exact, BOXES, 8)[0] for m in (half, whole))
    assert torch.equal(found, expected), "prompts and decoder are float32"


@pytest.mark.parametrize("name", SEGMENTERS)
def test_masks_are_where_the_image_is_and_not_its_padding(name: str) -> None:
    model = segmenter(name)
    (wide,), (tall,) = (model.embed([record(s).image], [s]) for s in ((16, 64), (64, 16)))
    shapes = [model.cut(one, torch.zeros(1, 32, 32)).shape[1:] for one in (wide, tall)]
    assert shapes == ([(8, 32), (32, 8)] if model.network.padded else [(32, 32)] * 2)


def test_other_models_are_refused_before_their_weights_are_read() -> None:
    with pytest.raises(SettingsError, match=r"of type clip; mask stages take .* sam_hq, sam2"):
        sam.load(checkpoints.checkpoint(checkpoints.clip), "cpu")
