"""Recall and re-ranking on tables small enough to read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.metrics import retrieval

SCORES = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.3], [0.1, 0.2, 0.3]])


def test_recall_counts_rows_with_a_hit_among_the_best() -> None:
    # The first row is right at once, the second at rank 3, the third at rank 2.
    right = [frozenset({0}), frozenset({1}), frozenset({1})]
    assert retrieval.recall(SCORES, right, (1, 2, 3)) == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0})


def test_one_of_several_right_columns_is_enough() -> None:
    right = [frozenset({1, 2}), frozenset({0, 1}), frozenset[int]()]
    assert retrieval.recall(SCORES, right, (1, 2)) == pytest.approx({1: 1 / 3, 2: 2 / 3})


def test_no_rows_have_no_recall() -> None:
    assert retrieval.recall(np.zeros((0, 3)), [], (1,)) == {1: 0.0}


def test_only_candidates_are_scored_again() -> None:
    asked: list[tuple[int, int]] = []

    def score(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.floating]:
        asked.extend(zip(rows.tolist(), columns.tolist(), strict=True))
        return columns.astype(np.float64)

    table = retrieval.reranked(SCORES, 2, score)
    assert asked == [(0, 0), (0, 2), (1, 0), (1, 2), (2, 2), (2, 1)]
    assert table.tolist() == [[0, -100, 2], [0, -100, 2], [-100, 1, 2]]


def test_more_candidates_than_columns_are_all_columns() -> None:
    table = retrieval.reranked(SCORES, 10, lambda rows, columns: SCORES[rows, columns])
    np.testing.assert_allclose(table, SCORES)
