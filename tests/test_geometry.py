"""Boxes and masks against brute force over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from grand_pipeline import geometry
from grand_pipeline.types import BoolArray, Box, FloatArray, Rle

repeatable = settings(derandomize=True, deadline=None, max_examples=80)
SIDE = 12

corner = st.integers(-3, SIDE + 3)
boxes = st.lists(st.tuples(corner, corner, corner, corner), max_size=7).map(geometry.as_boxes)
inside = st.integers(0, SIDE)
masks = hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))
run_lengths = st.lists(st.integers(1, 3000), min_size=1, max_size=12)


def painted(box: NDArray[np.floating]) -> BoolArray:
    """The pixels of an integer box, on a canvas with a margin for boxes that stick out."""
    canvas = np.zeros((SIDE + 6, SIDE + 6), bool)
    x1, y1, x2, y2 = (int(value) + 3 for value in box)
    canvas[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
    return canvas


def counted_iou(a: BoolArray, b: BoolArray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


@repeatable
@given(boxes, boxes)
def test_iou_counts_pixels(a: FloatArray, b: FloatArray) -> None:
    found = geometry.iou(a, b)
    assert found.shape == (len(a), len(b))
    assert found.dtype == np.float32
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            assert found[i, j] == pytest.approx(counted_iou(painted(first), painted(second)))


@repeatable
@given(boxes)
def test_iou_is_symmetric_and_one_with_itself(a: FloatArray) -> None:
    found = geometry.iou(a, a)
    np.testing.assert_array_equal(found, found.T)
    assert all(found[i, i] == (1.0 if geometry.area(a)[i] > 0 else 0.0) for i in range(len(a)))


@repeatable
@given(boxes)
def test_area_counts_pixels(a: FloatArray) -> None:
    assert geometry.area(a).tolist() == [float(painted(box).sum()) for box in a]


@repeatable
@given(boxes)
def test_clip_keeps_what_is_inside(a: FloatArray) -> None:
    size = (SIDE - 4, SIDE)
    cut = geometry.clip(a, size)
    frame = painted(np.array([0, 0, SIDE, SIDE - 4]))
    for before, after in zip(a, cut, strict=True):
        np.testing.assert_array_equal(painted(after), painted(before) & frame)
        assert (after >= 0).all()
        assert max(after[0], after[2]) <= SIDE
        assert max(after[1], after[3]) <= SIDE - 4


def slow_nms(boxes: FloatArray, scores: FloatArray, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        mine = boxes[index : index + 1]
        if all(geometry.iou(mine, boxes[k : k + 1])[0, 0] <= threshold for k in kept):
            kept.append(index)
    return kept


@repeatable
@given(boxes, st.data())
def test_nms_is_greedy_by_score(a: FloatArray, data: st.DataObject) -> None:
    few = st.sampled_from([0.1, 0.5, 0.5, 0.9])
    scores = np.array(data.draw(st.lists(few, min_size=len(a), max_size=len(a))), np.float32)
    threshold = data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    assert geometry.nms(a, scores, threshold).tolist() == slow_nms(a, scores, threshold)


def test_nms_example() -> None:
    stack = geometry.as_boxes([(0, 0, 10, 10), (0, 0, 10, 9), (20, 20, 30, 30)])
    assert geometry.nms(stack, np.array([0.5, 0.9, 0.1], np.float32), 0.5).tolist() == [1, 2]


def test_nothing_is_fine_everywhere() -> None:
    none = geometry.as_boxes([])
    assert none.shape == (0, 4)
    assert geometry.iou(none, none).shape == (0, 0)
    assert geometry.nms(none, np.zeros(0, np.float32), 0.5).tolist() == []
    assert geometry.rle_iou([], []).shape == (0, 0)


def test_as_box_gives_python_floats() -> None:
    box = geometry.as_box(np.array([1, 2, 3, 4], np.float32))
    assert box == (1.0, 2.0, 3.0, 4.0)
    assert {type(value) for value in box} == {float}


@repeatable
@given(masks)
def test_rle_round_trip(mask: BoolArray) -> None:
    rle = geometry.rle_encode(mask)
    assert rle.size == mask.shape
    np.testing.assert_array_equal(geometry.rle_decode(rle), mask)
    assert geometry.rle_area(rle) == mask.sum()


@repeatable
@given(run_lengths)
def test_rle_round_trip_of_long_runs(lengths: list[int]) -> None:
    """Runs of several characters, and differences of both signs."""
    flat = np.repeat(np.arange(len(lengths)) % 2 == 0, lengths)
    mask = flat.reshape(1, -1)
    np.testing.assert_array_equal(geometry.rle_decode(geometry.rle_encode(mask)), mask)


@repeatable
@given(masks)
def test_rle_spans_are_the_pieces_of_the_columns(mask: BoolArray) -> None:
    columns, tops, bottoms = geometry.rle_spans(geometry.rle_encode(mask))
    filled = np.zeros_like(mask)
    for column, top, bottom in zip(columns, tops, bottoms, strict=True):
        assert top < bottom and not filled[top:bottom, column].any()
        filled[top:bottom, column] = True
    assert columns.tolist() == sorted(columns)
    np.testing.assert_array_equal(filled, mask)


@pytest.mark.parametrize("box", [(1.4, 2, 3.6, 9), (-3, -1, 2, 2), (5, 1, 9, 3), (1, 9, 3, 12)])
def test_box_spans_fill_the_part_inside_the_image(box: Box) -> None:
    filled = np.zeros((5, 7), bool)
    x1, y1, x2, y2 = (max(0, round(value)) for value in box)
    filled[y1:y2, x1:x2] = True
    expected = geometry.rle_spans(geometry.rle_encode(filled))
    for found, right in zip(geometry.box_spans(box, (5, 7)), expected, strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("counts", ["", "022", "0222222", "0H", "9P", "PP"])
def test_runs_that_do_not_fill_the_size_are_refused(counts: str) -> None:
    for decode in (geometry.rle_decode, geometry.rle_spans):
        with pytest.raises(ValueError):
            decode(Rle((3, 3), counts))


@repeatable
@given(masks)
def test_rle_does_not_depend_on_memory_order(mask: BoolArray) -> None:
    turned = np.asfortranarray(mask)
    assert geometry.rle_encode(turned) == geometry.rle_encode(np.ascontiguousarray(mask))
    assert geometry.rle_encode(mask[::-1]) == geometry.rle_encode(mask[::-1].copy())


@repeatable
@given(masks)
def test_rle_box_is_tight(mask: BoolArray) -> None:
    ys, xs = np.nonzero(mask)
    expected = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0)
    assert geometry.rle_box(geometry.rle_encode(mask)) == expected


@repeatable
@given(st.data())
def test_rle_iou_counts_pixels(data: st.DataObject) -> None:
    same_size = st.lists(hnp.arrays(bool, (5, 7)), max_size=4)
    a, b = data.draw(same_size), data.draw(same_size)
    found = geometry.rle_iou(*([geometry.rle_encode(mask) for mask in ms] for ms in (a, b)))
    assert found.shape == (len(a), len(b))
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            if (first | second).any():
                assert found[i, j] == pytest.approx(counted_iou(first, second))


def test_rle_is_coco_column_major() -> None:
    """First column set, second not: runs 0, 2, 2 in COCO's column-major order."""
    mask = np.array([[True, False], [True, False]])
    assert geometry.rle_encode(mask) == Rle((2, 2), "022")
