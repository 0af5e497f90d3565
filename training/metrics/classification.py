"""Scores of samples put into one of several classes that are not alike frequent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.types import FloatArray

Classes = NDArray[np.int64]


def mean_accuracy(scores: FloatArray, target: Classes, top: int = 1) -> float:
    """Share of samples whose class is among their `top` best, a mean over classes.

    `scores` (N, C), `target` (N,). Every class that has samples counts alike, one without is left
    out; 0 without any sample. Of equal scores the first classes are the better ones.
    """
    if not len(target):
        return 0.0
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    hit = (best == target[:, None]).any(1)
    count = np.bincount(target)
    hits = np.bincount(target, weights=hit, minlength=len(count))
    return float(np.mean(hits[count > 0] / count[count > 0]))


def confusion(predicted: Classes, target: Classes, classes: int) -> Classes:
    """How often (target, predicted) occurs: counts (classes, classes)."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (target, predicted), 1)
    return table
