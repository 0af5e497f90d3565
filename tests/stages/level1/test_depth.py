import numpy as np
import pytest

from grand_pipeline.columns import DEPTH_MAP
from stages.level1.depth import Depth, DepthModel, _storable
from tests.tiny.checkpoints import Builder, checkpoint, depth_anything, dpt
from tests.tiny.records import ODD_SIZES, record


@pytest.mark.parametrize("build", [dpt, depth_anything])
def test_maps_of_mixed_sizes_are_finite_and_the_same_in_a_batch(build: Builder) -> None:
    stage = Depth(model=checkpoint(build))
    model = stage.load("cpu")
    sizes = ((40, 60), (40, 60), (60, 40), *ODD_SIZES)
    records = [record(size, seed=i) for i, size in enumerate(sizes)]
    for row, one in zip(stage.annotate(model, records), records, strict=True):
        depth = row[DEPTH_MAP].array()
        alone = stage.annotate(model, [one])[0][DEPTH_MAP].array()
        assert np.isfinite(depth).all() and depth.shape == row[DEPTH_MAP].grid
        assert np.allclose(depth, alone, atol=1e-3 * max(1.0, float(np.abs(alone).max())))


def test_metric_depth_is_turned_round() -> None:
    stage = Depth(model=checkpoint(dpt))
    model = stage.load("cpu")
    relative = model.predict([record().image])[0]
    metric = DepthModel(model.model, model.processor, "cpu", metric=True)
    (inverse,) = metric.predict([record().image])
    assert np.allclose(inverse, 1 / np.clip(relative, 1e-3, None))


def test_large_values_fit_half_precision() -> None:
    wide = np.array([[-1.0, 2e6]], np.float32)
    stored = _storable(wide)
    assert np.isfinite(stored.astype(np.float16)).all()
    assert stored[0, 1] / stored[0, 0] == pytest.approx(-2e6)
    small = np.array([[1.0, 2.0]], np.float32)
    assert _storable(small) is small
