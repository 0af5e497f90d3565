"""Mean accuracy over classes, and confusion, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.metrics.classification import confusion, mean_accuracy

SCORES = np.array([[3, 2, 1, 0], [3, 2, 1, 0], [0, 3, 2, 1], [1, 0, 2, 3]], np.float32)


def test_classes_count_alike_and_those_without_samples_not_at_all() -> None:
    target = np.array([0, 0, 0, 3], np.int64)
    # Class 0: two of three; class 3: one of one; classes 1 and 2 have nothing.
    assert mean_accuracy(SCORES, target) == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_among_the_best_is_found() -> None:
    target = np.array([1, 2, 0, 0], np.int64)
    assert mean_accuracy(SCORES, target, 1) == 0
    assert mean_accuracy(SCORES, target, 2) == pytest.approx((0 + 1 + 0) / 3)
    assert mean_accuracy(SCORES, target, 3) == pytest.approx((0.5 + 1 + 1) / 3)
    assert mean_accuracy(SCORES, target, 9) == 1


def test_equal_scores_do_not_count_for_all() -> None:
    flat = np.zeros((2, 3), np.float32)
    assert mean_accuracy(flat, np.array([0, 2], np.int64)) == 0.5


def test_without_samples_there_is_nothing() -> None:
    assert mean_accuracy(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == 0


def test_confusion_counts_true_by_called() -> None:
    table = confusion(np.array([1, 1, 0], np.int64), np.array([0, 0, 2], np.int64), 3)
    assert table.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
