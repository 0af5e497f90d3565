import numpy as np
import pytest
from torch import Tensor

from grand_pipeline import geometry
from grand_pipeline.columns import SEGMENTS
from grand_pipeline.types import FloatArray, Segment, Size
from stages.level1.segments import Segments, boxes_of, grid, scattered
from stages.sam import Embedded, Sam
from tests.tiny.checkpoints import checkpoint
from tests.tiny.masks import SEGMENTERS, sam, segmenter
from tests.tiny.records import ODD_SIZES, inside, record


def stage(**options: float | str) -> Segments:
    free = {
        "points_per_side": 4,
        "predicted_iou": 0.0,
        "stability": 0.0,
        "min_area": 0.0,
        "stability_offset": 0.01,
    }
    return Segments(model=checkpoint(sam), **{**free, **options})  # type: ignore[arg-type]  # mixed


@pytest.fixture(scope="module")
def model() -> Sam:
    return stage().load("cpu")


def segments(of: Segments, model: Sam, size: Size = (40, 60)) -> tuple[Segment, ...]:
    (row,) = of.annotate(model, [record(size)])
    found: tuple[Segment, ...] = row[SEGMENTS]
    return found


@pytest.mark.parametrize("size", [(40, 60), *ODD_SIZES])
def test_masks_have_the_images_size_and_fit_their_boxes(model: Sam, size: Size) -> None:
    found = segments(stage(), model, size)
    assert found or size != (40, 60)
    for segment in found:
        assert segment.mask.size == size
        assert segment.box == geometry.rle_box(segment.mask) and inside(segment.box, size)
        assert 0 <= segment.predicted_iou <= 1 and 0 <= segment.stability <= 1


def test_best_first_and_limited(model: Sam) -> None:
    found = segments(stage(nms=1.0), model)
    scores = [segment.predicted_iou for segment in found]
    assert scores == sorted(scores, reverse=True) and len(found) > 3
    assert segments(stage(nms=1.0, max_segments=2), model) == found[:2]


def test_every_limit_removes_what_is_below_it(model: Sam) -> None:
    found = segments(stage(nms=1.0), model)
    quality = float(np.median([segment.predicted_iou for segment in found]))
    stability = float(np.median([segment.stability for segment in found]))
    sure = segments(stage(nms=1.0, predicted_iou=quality), model)
    steady = segments(stage(nms=1.0, stability=stability), model)
    assert 0 < len(sure) < len(found) and all(s.predicted_iou >= quality for s in sure)
    assert 0 < len(steady) < len(found) and all(s.stability >= stability for s in steady)
    assert segments(stage(min_area=1.1), model) == ()


def test_suppression_leaves_no_similar_boxes(model: Sam) -> None:
    found = segments(stage(nms=0.5), model, (64, 64))
    assert len(found) < len(segments(stage(nms=1.0), model, (64, 64)))


def test_number_of_points_at_a_time_changes_nothing(model: Sam) -> None:
    together, apart = segments(stage(), model), segments(stage(points_per_batch=3), model)
    assert len(together) == len(apart)
    assert (
        np.diag(geometry.rle_iou([s.mask for s in together], [s.mask for s in apart])).min() > 0.9
    )


def test_covered_points_are_left_out(model: Sam) -> None:
    seen: list[int] = []

    class Counting(Sam):
        def by_points(self, image: Embedded, points: FloatArray) -> tuple[Tensor, FloatArray]:
            seen.append(len(points))
            return super().by_points(image, points)

    counting = Counting(model.network)
    found = segments(stage(skip_covered=0.0, points_per_batch=2), counting)
    assert found and sum(seen) < 16
    seen.clear()
    segments(stage(skip_covered=2.0, points_per_batch=2), counting)
    assert sum(seen) == 16


def test_grid_covers_the_unit_square_evenly() -> None:
    assert grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


@pytest.mark.parametrize("per_side", [1, 2, 3, 10, 32])
def test_scattered_points_are_the_same_points(per_side: int) -> None:
    points = grid(per_side)
    mixed = scattered(points)
    assert sorted(mixed.tolist()) == sorted(points.tolist())
    if per_side == 32:
        assert np.abs(mixed[:64].mean(axis=0) - 0.5).max() < 0.1


def test_boxes_are_tight() -> None:
    masks = np.zeros((2, 5, 7), bool)
    masks[0, 1:3, 2:6] = True
    masks[1, 4, 6] = True
    assert boxes_of(masks).tolist() == [[2, 1, 6, 3], [6, 4, 7, 5]]
    assert boxes_of(masks[:0]).shape == (0, 4)


@pytest.mark.parametrize("size", [(40, 60), (1, 1), (3, 2000), (1500, 2000)])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_model_of_the_family_finds_masks_in_images_of_any_size(name: str, size: Size) -> None:
    found = segments(stage(), segmenter(name), size)
    assert found or size != (40, 60)
    for segment in found:
        assert segment.mask.size == size
        assert segment.box == geometry.rle_box(segment.mask) and inside(segment.box, size)


def test_the_encoder_s_number_format_is_an_option() -> None:
    half = stage(dtype="bfloat16").load("cpu")
    assert {str(w.dtype) for w in half.network.model.vision_encoder.parameters()} == {
        "torch.bfloat16"
    }
    assert segments(stage(), half)
