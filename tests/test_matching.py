from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import geometry
from grand_pipeline.matching import (
    absorb,
    best_match,
    noisy_or,
    suppress,
    voting_groups,
    weighted_box,
)

UNIT = (0, 0, 10, 10)
NEAR = (1, 0, 11, 10)  # IoU 9/11 with UNIT
HALF = (0, 0, 10, 6)  # IoU 0.6 with UNIT
AWAY = (50, 50, 60, 60)


def codes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_suppress_keeps_other_labels() -> None:
    boxes = geometry.as_boxes([UNIT, NEAR, UNIT])
    scores = np.array([0.5, 0.9, 0.4], np.float32)
    assert suppress(boxes, scores, codes(0, 0, 1), 0.6) == [1, 2]
    assert suppress(boxes, scores, codes(0, 0, 1), 0.9) == [1, 0, 2]


def test_group_takes_best_box_of_each_source_not_the_first() -> None:
    boxes = geometry.as_boxes([UNIT, HALF, NEAR, AWAY, UNIT])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.1], np.float32)
    groups = voting_groups(boxes, scores, codes(0, 0, 0, 0, 0), codes(0, 1, 1, 1, 2), 0.5)
    assert groups == [[0, 2, 4], [1], [3]]


def test_groups_never_mix_labels_or_take_from_one_source() -> None:
    boxes = geometry.as_boxes([UNIT, UNIT, UNIT])
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert voting_groups(boxes, scores, codes(0, 1, 0), codes(0, 1, 0), 0.5) == [[0], [1], [2]]


def test_group_threshold_is_inclusive() -> None:
    boxes = geometry.as_boxes([UNIT, HALF])
    scores = np.array([0.9, 0.8], np.float32)
    limit = float(geometry.iou(boxes, boxes)[0, 1])
    assert voting_groups(boxes, scores, codes(0, 0), codes(0, 1), limit) == [[0, 1]]
    assert voting_groups(boxes, scores, codes(0, 0), codes(0, 1), limit + 0.01) == [[0], [1]]


BOXES = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20)),
        st.integers(1, 9),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=14,
)


@given(BOXES, st.floats(0.1, 1))
def test_groups_partition_the_boxes(
    raw: list[tuple[tuple[int, int, int, int], int, int, int]], threshold: float
) -> None:
    boxes = geometry.as_boxes([(x, y, x + w, y + h) for (x, y, w, h), *_ in raw])
    scores = np.array([score / 10 for _, score, _, _ in raw], np.float32)
    keys, sources = codes(*(k for *_, k, _ in raw)), codes(*(s for *_, s in raw))
    groups = voting_groups(boxes, scores, keys, sources, threshold)
    assert sorted(i for group in groups for i in group) == list(range(len(raw)))
    for group in groups:
        assert len({int(keys[i]) for i in group}) == 1
        assert len({int(sources[i]) for i in group}) == len(group)
        overlap = geometry.iou(boxes[group], boxes[group])[0]
        assert (overlap >= np.float32(threshold)).all()
        assert scores[group[0]] == scores[group].max()


def test_absorb_joins_the_best_overlapping_leader() -> None:
    boxes = geometry.as_boxes([HALF, UNIT, NEAR, AWAY])
    limits = np.full((4, 4), 0.5, np.float32)
    assert absorb(boxes, limits) == [[0, 1, 2], [3]]
    limits[0, 1] = 0.7
    assert absorb(boxes, limits) == [[0], [1, 2], [3]]
    assert absorb(boxes[:0], limits[:0, :0]) == []


def test_weighted_box() -> None:
    boxes = [(0.0, 0.0, 10.0, 10.0), (4.0, 0.0, 14.0, 10.0)]
    assert weighted_box(boxes, [3, 1]) == (1, 0, 11, 10)
    assert weighted_box(boxes, [0, 0]) == (2, 0, 12, 10)


def test_noisy_or() -> None:
    assert noisy_or([0.5, 0.5]) == pytest.approx(0.75)
    assert noisy_or([0.3]) == pytest.approx(0.3)
    assert noisy_or([1.7, 0.2]) == 1.0


@pytest.mark.parametrize(
    ("overlap", "agrees", "expected"),
    [
        ([0.6, 0.9], [True, False], 0),
        ([0.4, 0.9], [True, False], 1),
        ([0.6, 0.7], [True, True], 1),
        ([0.4, 0.7], [True, False], None),
        ([], [], None),
    ],
)
def test_best_match(overlap: list[float], agrees: list[bool], expected: int | None) -> None:
    found = best_match(np.array(overlap, np.float32), np.array(agrees, bool), 0.5, 0.75)
    assert found == expected
