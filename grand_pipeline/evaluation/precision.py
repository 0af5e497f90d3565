"""Average precision as COCO defines it (101 recall points), for any kind of class key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.geometry import as_boxes, iou
from grand_pipeline.types import Box, FloatArray

THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_MOST = 100  # detections of one class in one image that COCO looks at


@dataclass(frozen=True)
class Scored:
    """A predicted box of class `key`."""

    key: Hashable
    box: Box
    score: float


@dataclass(frozen=True)
class Target:
    """A true box of class `key`."""

    key: Hashable
    box: Box


@dataclass(frozen=True)
class Sample:
    """One image."""

    predicted: tuple[Scored, ...]
    truth: tuple[Target, ...]


@dataclass(frozen=True)
class _Hits:
    """Ranked detections of one class in one image: scores (n,), hit per threshold (t, n)."""

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    truths: int


def average_precision(
    samples: Sequence[Sample], thresholds: NDArray[np.float64] = THRESHOLDS
) -> NDArray[np.float64] | None:
    """Mean over the classes that occur in the truth, per IoU threshold (t,); None without truth."""
    classes = sorted({t.key for s in samples for t in s.truth}, key=repr)
    if not classes:
        return None
    collected: dict[Hashable, list[_Hits]] = {key: [] for key in classes}
    for sample in samples:
        for key, hits in _image(sample, thresholds).items():
            if key in collected:
                collected[key].append(hits)
    curves = [_class_precision(collected[key], len(thresholds)) for key in classes]
    return np.asarray(np.mean(curves, axis=0))


def _image(sample: Sample, thresholds: NDArray[np.float64]) -> dict[Hashable, _Hits]:
    """Ranked and matched detections of one image, by class."""
    overlap = iou(
        as_boxes([p.box for p in sample.predicted]), as_boxes([t.box for t in sample.truth])
    )
    found: dict[Hashable, _Hits] = {}
    keys = {p.key for p in sample.predicted} | {t.key for t in sample.truth}
    for key in keys:
        rows = [i for i, p in enumerate(sample.predicted) if p.key == key]
        rows = sorted(rows, key=lambda i: -sample.predicted[i].score)[:_MOST]
        columns = [j for j, t in enumerate(sample.truth) if t.key == key]
        scores = np.array([sample.predicted[i].score for i in rows], np.float64)
        hits = _match(overlap[np.ix_(rows, columns)], thresholds)
        found[key] = _Hits(scores, hits, len(columns))
    return found


def _match(overlap: FloatArray, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the ranked detections (n, m) take a true box, per threshold: (t, n)."""
    count, truths = overlap.shape
    hits = np.zeros((len(thresholds), count), bool)
    if not truths:
        return hits
    taken = np.zeros((len(thresholds), truths), bool)
    steps = np.arange(len(thresholds))
    for row in range(count):
        free = np.where(taken, -1.0, overlap[row][None, :])
        # Of equally good boxes COCO takes the last.
        best = truths - 1 - np.argmax(free[:, ::-1], axis=1)
        good = free[steps, best] >= thresholds
        hits[good, row] = True
        taken[steps[good], best[good]] = True
    return hits


def _class_precision(images: Sequence[_Hits], count: int) -> NDArray[np.float64]:
    """Interpolated average precision of one class per threshold (t,)."""
    truths = sum(image.truths for image in images)
    order = np.argsort(-np.concatenate([image.scores for image in images]), kind="stable")
    hits = np.concatenate([image.hits for image in images], axis=1)[:, order]
    found = np.cumsum(hits, axis=1, dtype=np.float64)
    result = np.zeros(count)
    for step in range(count):
        recall = found[step] / truths
        precision = found[step] / np.arange(1, len(order) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, _RECALLS, side="left")
        reached = places < len(precision)
        result[step] = precision[places[reached]].sum() / len(_RECALLS)
    return result
