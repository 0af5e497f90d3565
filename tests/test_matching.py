from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import geometry, overlaps
from grand_pipeline.matching import (
    Groups,
    absorb,
    best_matches,
    codes_of,
    order_by,
    suppress,
    voting_groups,
)
from grand_pipeline.overlaps import led_pairs, overlapping

UNIT = (0, 0, 10, 10)
NEAR = (1, 0, 11, 10)  # IoU 9/11 with UNIT
HALF = (0, 0, 10, 6)  # IoU 0.6 with UNIT
AWAY = (50, 50, 60, 60)


def codes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_suppress_keeps_other_labels() -> None:
    boxes = geometry.as_boxes([UNIT, NEAR, UNIT])
    scores = np.array([0.5, 0.9, 0.4], np.float32)
    assert suppress(boxes, scores, codes(0, 0, 1), 0.6).tolist() == [1, 2]
    assert suppress(boxes, scores, codes(0, 0, 1), 0.9).tolist() == [1, 0, 2]


RAW = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20)),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=14,
)
"""Boxes, best first, with a label and a source."""
Raw = list[tuple[tuple[int, int, int, int], int, int]]


def boxes_of(raw: Raw) -> np.ndarray:
    return geometry.as_boxes([(x, y, x + w, y + h) for (x, y, w, h), *_ in raw])


def grouped(
    boxes: np.ndarray, keys: np.ndarray, sources: np.ndarray, least: float, nms_iou: float = 1.0
) -> list[Any]:
    return voting_groups(boxes, keys, sources, nms_iou, least).lists()


def absorbed(boxes: np.ndarray, least: float) -> list[list[int]]:
    every = np.zeros(len(boxes), np.int64)
    return absorb(boxes, every, 0.01, lambda pairs: pairs.iou >= least).lists()


@given(RAW, st.floats(0.05, 1))
def test_overlapping_finds_what_all_comparisons_find(raw: Raw, least: float) -> None:
    boxes, keys = boxes_of(raw), codes(*(key for _, key, _ in raw))
    every = geometry.iou(boxes, boxes)
    wanted = np.triu((every >= least) & (keys[:, None] == keys[None, :]), 1)
    pairs = overlapping(boxes, keys, least)
    assert list(zip(pairs.first, pairs.second, strict=True)) == [
        tuple(p) for p in np.argwhere(wanted)
    ]
    assert pairs.iou.tolist() == every[wanted].tolist()


def test_overlapping_bounds_what_it_compares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 30, (60, 2))
    boxes = np.concatenate(
        [corners, corners + rng.uniform(5, 30, (60, 2))], axis=1, dtype=np.float32
    )
    whole = overlapping(boxes, np.zeros(60, np.int64), 0.1)
    monkeypatch.setattr(overlaps, "_AT_ONCE", 7)
    parts = overlapping(boxes, np.zeros(60, np.int64), 0.1)
    assert len(whole.first) > 100
    for name in ("first", "second", "iou"):
        assert getattr(whole, name).tolist() == getattr(parts, name).tolist()


@given(RAW, st.floats(0.1, 1))
def test_suppression_leaves_no_rivals_and_drops_nothing_else(raw: Raw, threshold: float) -> None:
    boxes, keys = boxes_of(raw), codes(*(key for _, key, _ in raw))
    scores = np.linspace(1, 0.1, len(raw))
    kept = suppress(boxes, scores, keys, threshold).tolist()
    rivals = (geometry.iou(boxes, boxes) > threshold) & (keys[:, None] == keys[None, :])
    assert kept == sorted(kept)
    assert not np.triu(rivals[np.ix_(kept, kept)], 1).any()
    for index in set(range(len(raw))) - set(kept):
        assert rivals[index, [k for k in kept if k < index]].any()


@given(RAW, st.floats(0.1, 1), st.floats(0.1, 1))
def test_crowds_are_treated_alike_in_parts_and_at_once(
    raw: Raw, nms_iou: float, least: float
) -> None:
    boxes, keys = boxes_of(raw), codes(*(key for _, key, _ in raw))
    sources = codes(*(source for *_, source in raw))
    scores = sources / 4

    def everything() -> list[Any]:
        kept = suppress(boxes, scores, keys, nms_iou).tolist()
        return [kept, grouped(boxes, keys, sources, least, nms_iou), absorbed(boxes, least)]

    whole = everything()
    for most in (1, 5, 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(overlaps, "_AT_ONCE", most)
            assert everything() == whole


def test_a_crowd_on_one_place_never_makes_all_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaps, "_AT_ONCE", 1000)
    boxes, free = geometry.as_boxes([UNIT] * 500), np.ones(500, bool)
    made = 0
    for pairs in led_pairs(boxes, np.zeros(500, np.int64), 0.5, free):
        free[pairs.second] = False
        made += len(pairs.first)
    assert made < 1500
    assert free.tolist() == [True] + [False] * 499


@given(RAW, st.floats(0.1, 1))
def test_absorbed_boxes_follow_the_nearest_leader(raw: Raw, least: float) -> None:
    boxes = boxes_of(raw)
    overlap = geometry.iou(boxes, boxes) * (geometry.iou(boxes, boxes) >= np.float32(least))
    leaders: list[int] = []
    follows: dict[int, int] = {}
    for index in range(len(boxes)):
        before = [n for n in leaders if overlap[n, index] > 0]
        follows[index] = max(before, key=lambda n: (overlap[n, index], -n)) if before else index
        leaders += [] if before else [index]
    found = {i: part[0] for part in absorbed(boxes, least) for i in part}
    assert found == follows


def test_group_takes_best_box_of_each_source_not_the_first() -> None:
    boxes = geometry.as_boxes([UNIT, HALF, NEAR, AWAY, UNIT])
    assert grouped(boxes, codes(0, 0, 0, 0, 0), codes(0, 1, 1, 1, 2), 0.5) == [[0, 2, 4], [1], [3]]


def test_groups_never_mix_labels_or_take_from_one_source() -> None:
    boxes = geometry.as_boxes([UNIT, UNIT, UNIT])
    assert grouped(boxes, codes(0, 1, 0), codes(0, 1, 0), 0.5) == [[0], [1], [2]]


def test_the_threshold_is_inclusive() -> None:
    boxes = geometry.as_boxes([UNIT, HALF])
    limit = float(geometry.iou(boxes, boxes)[0, 1])
    assert grouped(boxes, codes(0, 0), codes(0, 1), limit) == [[0, 1]]
    assert grouped(boxes, codes(0, 0), codes(0, 1), limit + 0.01) == [[0], [1]]


@given(RAW, st.floats(0.1, 1))
def test_groups_partition_the_boxes(raw: Raw, threshold: float) -> None:
    boxes = boxes_of(raw)
    keys, sources = codes(*(k for _, k, _ in raw)), codes(*(s for *_, s in raw))
    groups = grouped(boxes, keys, sources, threshold)
    assert sorted(i for group in groups for i in group) == list(range(len(raw)))
    for group in groups:
        assert len({int(keys[i]) for i in group}) == 1
        assert len({int(sources[i]) for i in group}) == len(group)
        overlap = geometry.iou(boxes[group], boxes[group])[0]
        assert (overlap >= np.float32(threshold)).all()
        assert group[0] == min(group)


@given(RAW, st.floats(0.1, 1), st.floats(0.1, 1))
def test_voting_groups_leave_out_what_suppression_drops(
    raw: Raw, nms_iou: float, least: float
) -> None:
    boxes, keys = boxes_of(raw), codes(*(k for _, k, _ in raw))
    sources = codes(*(s for *_, s in raw))
    kept = suppress(boxes, np.linspace(1, 0.1, len(raw)), 3 * sources + keys, nms_iou)
    alone = grouped(boxes[kept], keys[kept], sources[kept], least)
    wanted = [[int(kept[i]) for i in group] for group in alone]
    assert grouped(boxes, keys, sources, least, nms_iou) == wanted


def test_absorb_joins_the_best_overlapping_leader() -> None:
    boxes, every = geometry.as_boxes([HALF, UNIT, NEAR, AWAY]), codes(0, 0, 0, 0)
    assert absorbed(boxes, 0.5) == [[0, 1, 2], [3]]
    apart = absorb(boxes, every, 0.1, lambda p: (p.iou >= 0.5) & ((p.first != 0) | (p.second != 1)))
    assert apart.lists() == [[0], [1, 2], [3]]
    assert absorbed(boxes[:0], 0.1) == []


def test_groups_of_groups() -> None:
    groups = Groups.of([[4, 1], [0], [2, 5, 3]])
    assert groups.lists() == [[4, 1], [0], [2, 5, 3]]
    assert groups.numbers.tolist() == [0, 0, 1, 2, 2, 2]
    assert groups.take(codes(2, 0)).lists() == [[2, 5, 3], [4, 1]]
    assert groups.take(codes()).lists() == []
    assert groups.joined(Groups.of([[1, 2], [0]])).lists() == [[0, 2, 5, 3], [4, 1]]
    assert Groups.led(codes(0, 1, -1, 0, 1), codes(1, 0, 0, 3, 0)).lists() == [[0, 3], [1, 4]]


def test_ties_decide_only_between_equals() -> None:
    first, second = np.array([2.0, 1.0, 2.0, 0.0]), np.array([0, 9, 0, 9])
    tie = np.array([5, 0, 4, 0])
    assert order_by((first, second), (tie,)).tolist() == [3, 1, 2, 0]
    assert order_by((first, tie), (second,)).tolist() == [3, 1, 2, 0]
    assert order_by((first[:1],), (tie[:1],)).tolist() == [0]
    assert order_by((first[:0],), (tie[:0],)).tolist() == []


def test_codes_follow_the_alphabet() -> None:
    numbers, names = codes_of(["b", "a", "b", "c"])
    assert (numbers.tolist(), names) == ([1, 0, 1, 2], ("a", "b", "c"))
    assert codes_of([])[0].dtype == np.int64


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
def test_best_matches(overlap: list[float], agrees: list[bool], expected: int | None) -> None:
    rows = np.array([overlap, np.zeros(len(overlap))], np.float32)
    assert best_matches(rows, np.array(agrees, bool), 0.5, 0.75) == [expected, None]
