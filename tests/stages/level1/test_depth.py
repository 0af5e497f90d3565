from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch

from grand_pipeline.columns import DEPTH_MAP
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.types import DepthMap
from stages.hub import Dtype
from stages.level1.depth import Depth, DepthModel, _storable
from tests.tiny.checkpoints import Builder, checkpoint
from tests.tiny.depth import (
    depth_anything,
    depth_anything_metric,
    dpt,
    dpt_beit,
    dpt_hybrid,
    dpt_swinv2,
    zoedepth,
)
from tests.tiny.records import record

RELATIVE = (dpt, dpt_beit, dpt_swinv2, dpt_hybrid, depth_anything)
METRIC = (depth_anything_metric, zoedepth)
BUILDERS = (*RELATIVE, *METRIC)


def maps(stage: Depth, model: DepthModel, *records: Record) -> list[DepthMap]:
    return [row[DEPTH_MAP] for row in stage.annotate(model, records)]


@pytest.mark.parametrize("dtype", [d for d in get_args(Dtype) if d != "float32"])
@pytest.mark.parametrize("build", BUILDERS)
def test_half_precision_is_near(build: Builder, dtype: Dtype) -> None:
    if (build, dtype) == (dpt_swinv2, "float16"):
        pytest.skip("Swin v2 of the library is not finite in float16")
    whole, half = Depth(model=checkpoint(build)), Depth(model=checkpoint(build), dtype=dtype)
    model = half.load("cpu")
    assert str(model.model.dtype) == f"torch.{dtype}"
    (rough,) = maps(half, model, record())
    (exact,) = maps(whole, whole.load("cpu"), record())
    error = np.abs(rough.array() - exact.array()).mean()
    assert error < 0.05 * float(np.abs(exact.array()).max())


@pytest.mark.parametrize("build", BUILDERS)
def test_relative_and_metric_are_kept_apart(build: Builder) -> None:
    stage = Depth(model=checkpoint(build))
    (found,) = maps(stage, stage.load("cpu"), record())
    assert found.metric == (build in METRIC)
    assert (found.metres() is None) == (build in RELATIVE)


@pytest.mark.parametrize("build", METRIC)
def test_metres_come_back_and_nearer_is_larger(build: Builder) -> None:
    stage = Depth(model=checkpoint(build))
    model = stage.load("cpu")
    inputs = model.processor(images=record().image, return_tensors="pt")
    with torch.inference_mode():
        told = model.model(pixel_values=inputs["pixel_values"]).predicted_depth[0].numpy()
    (found,) = maps(stage, model, record())
    metres = found.metres()
    assert metres is not None and np.allclose(metres, np.maximum(told, 1e-3), rtol=1e-3)
    assert told.std() > 0
    assert found.array().flat[told.argmin()] == found.array().max()


def test_a_stored_map_says_that_it_is_metric() -> None:
    given = DepthMap.of(np.array([[0.5, 0.0]]), metric=True)
    again = DEPTH_MAP.decode(DEPTH_MAP.encode(given))
    assert again == given
    assert np.array_equal(again.metres(), [[2.0, np.inf]])
    older = {name: v for name, v in DEPTH_MAP.encode(given).items() if name != "metric"}
    assert DEPTH_MAP.decode(older).metric is False


def test_the_user_can_say_that_a_dpt_predicts_metres() -> None:
    relative, metric = Depth(model=checkpoint(dpt)), Depth(model=checkpoint(dpt), scale="metric")
    (inverse,) = relative.load("cpu").predict([record().image])
    (turned,) = metric.load("cpu").predict([record().image])
    assert np.allclose(turned, 1 / np.clip(inverse, 1e-3, None))


def test_an_unknown_scale_is_asked_for() -> None:
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessorPil

    def glpn() -> tuple[Any, Any]:
        config = GLPNConfig(
            hidden_sizes=[8, 8, 8, 8],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 1, 1],
            decoder_hidden_size=8,
        )
        return GLPNForDepthEstimation(config), GLPNImageProcessorPil()

    with pytest.raises(SettingsError, match=r"glpn.*set depth\.scale"):
        Depth(model=checkpoint(glpn)).load("cpu")
    assert Depth(model=checkpoint(glpn), scale="metric").load("cpu").metric


@pytest.mark.parametrize("build", [dpt_beit, depth_anything, zoedepth])
def test_squeezed_images_share_a_grid(build: Builder) -> None:
    stage = Depth(model=checkpoint(build), squeeze=True)
    records = [record(size) for size in ((40, 60), (60, 40), (3, 2000))]
    found = maps(stage, stage.load("cpu"), *records)
    assert len({one.grid for one in found}) == 1
    height, width = found[0].grid
    assert height == width


def test_no_images_give_no_maps() -> None:
    stage = Depth(model=checkpoint(dpt))
    assert stage.annotate(stage.load("cpu"), []) == []


def test_large_values_fit_half_precision() -> None:
    wide = np.array([[-1.0, 2e6]], np.float32)
    stored = _storable(wide)
    assert np.isfinite(stored.astype(np.float16)).all()
    assert stored[0, 1] / stored[0, 0] == pytest.approx(-2e6)
    small = np.array([[1.0, 2.0]], np.float32)
    assert _storable(small) is small


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        _storable(np.array([[1.0, value]], np.float32))
