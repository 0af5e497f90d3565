"""Retrieval between images and texts: recall at K, with the best candidates ranked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
AT = (1, 5, 10)
_LAST = -100.0
"""Score of what was no candidate: less than any that is one."""


def candidates(similarity: Scores, count: int) -> NDArray[np.int64]:
    """Columns (N, K) of the `count` greatest of each row, the greatest first; ties keep order."""
    return np.argsort(-similarity, axis=1, kind="stable")[:, :count]


def reranked(
    similarity: Scores,
    count: int,
    score: Callable[[NDArray[np.int64], NDArray[np.int64]], Scores],
) -> NDArray[np.float32]:
    """Scores (N, M) of the `count` most similar columns of every row; all others get -100.

    Args:
        similarity: (N, M).
        count: candidates per row, 256 for COCO and 128 for Flickr30K in the papers.
        score: of pairs given by their rows (P,) and columns (P,), for example the logit of a
            match; called once, with all pairs.
    """
    chosen = candidates(similarity, count)
    rows = np.repeat(np.arange(len(chosen)), chosen.shape[1])
    table = np.full(similarity.shape, _LAST, np.float32)
    table[rows, chosen.ravel()] = score(rows, chosen.ravel())
    return table


def recall(
    scores: Scores, relevant: Sequence[frozenset[int]], at: Sequence[int] = AT
) -> dict[int, float]:
    """Share of rows with a relevant column among the K best, for every K of `at`.

    Args:
        scores: (N, M), greater is better; ties keep the order of columns.
        relevant: per row, the columns that are right; a row without any is a miss.
    """
    order = candidates(scores, max(at))
    right = np.array(
        [[int(c) in some for c in row] for row, some in zip(order, relevant, strict=True)]
    )
    return {k: float(right[:, :k].any(1).mean()) if len(right) else 0.0 for k in at}
