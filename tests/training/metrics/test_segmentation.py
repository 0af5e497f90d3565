"""IoU, the oracle, masks of attention: maps small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from training.metrics import segmentation

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, -1]])


def test_iou_is_counted_over_pixels_of_all_pictures() -> None:
    found = np.array([[0, 0, 0, 1], [0, -1, 1, 1]])
    table = segmentation.confused(found, TRUTH, 3)
    # The pixel without a true class is left out, the one called nothing counts against class 0.
    assert table.tolist() == [[3, 0, 0, 1], [1, 2, 0, 0], [0, 0, 0, 0]]
    # Class 0: 3 of 4 + 1; class 1: 2 of 3; class 2 is in no picture.
    assert segmentation.mean_iou(table) == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert segmentation.mean_iou(table + table) == segmentation.mean_iou(table)


def test_a_class_that_is_only_found_is_no_class_but_costs_the_true_one() -> None:
    found = np.where(TRUTH == 1, 2, TRUTH)
    assert segmentation.mean_iou(segmentation.confused(found, TRUTH, 3)) == pytest.approx(0.5)
    assert segmentation.mean_iou(np.zeros((3, 4), np.int64)) == 0.0


def test_jaccard_of_masks_and_groups() -> None:
    groups = np.array([[0, 0, 1, 1], [0, 2, 1, 1]])
    masks = np.stack([TRUTH == 0, TRUTH == 1, np.zeros_like(TRUTH, bool)])
    table = segmentation.jaccard(segmentation.members(groups, 4), masks)
    assert table.tolist() == [[3 / 4, 0, 1 / 4, 0], [0, 3 / 4, 0, 0], [0, 0, 0, 0]]


def test_the_oracle_gives_each_group_its_best_class() -> None:
    groups = np.array([[0, 1, 1, 1], [0, 0, 1, 2]])
    told = segmentation.oracle(groups, 4, TRUTH, 2)
    assert told.tolist() == [[0, 1, 1, 1], [0, 0, 1, -1]]
    perfect = np.where(TRUTH < 0, 1, TRUTH)
    table = segmentation.confused(segmentation.oracle(perfect, 2, TRUTH, 2), TRUTH, 2)
    assert segmentation.mean_iou(table) == 1.0


def test_attention_is_cut_at_a_share_of_its_mass() -> None:
    maps = np.array([[[0.5, 0.2], [0.2, 0.1]], [[7, 1], [1, 1]], [[0.25, 0.25], [0.25, 0.25]]])
    held = segmentation.attended(maps, 0.6)
    assert held.tolist() == [
        [[True, True], [False, False]],
        [[True, False], [False, False]],
        [[True, True], [True, False]],
    ]
