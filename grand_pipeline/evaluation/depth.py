"""Depth: the order of object pairs and delta1, both beside the mean true depth map.

The mean map knows only that the lower part of a picture is near. A depth model has learned
something about objects if it beats that map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from PIL import Image

from grand_pipeline.columns import PublishedObject
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import ImagePair, Match, mean
from grand_pipeline.geometry import rle_decode
from grand_pipeline.types import DepthMap, FloatArray, Size

CLEARLY = 0.05
"""Difference of true relative inverse depth from which one object is clearly nearer."""

_GRID = (256, 256)  # of the mean map
_RATIO = 1.25
_LOWEST = 1e-3  # aligned inverse depth is cut here: ratios need positive values

Maps = Mapping[str, DepthMap]


def depth_scores(pairs: Sequence[ImagePair], predicted: Maps | None, truth: Maps | None) -> Scores:
    """Pair order over matched things, and delta1 of the maps.

    `predicted` and `truth` are depth maps by image id; None where a run has none. An object
    without depth orders no pair rightly, equal depths neither.
    """
    known = [truth[p.image_id] for p in pairs if p.image_id in truth] if truth else []
    average = mean_map(known) if known else None
    order: list[float] = []
    order_mean: list[float] = []
    for pair in pairs:
        known_depth = [m for m in pair.matched_things if m.truth.depth is not None]
        guesses = [_inside(m.predicted, average, _size(pair)) for m in known_depth]
        for a, b in combinations(range(len(known_depth)), 2):
            first, second = known_depth[a], known_depth[b]
            if abs(_true_step(first, second)) >= CLEARLY:
                order.append(_right(first, second, first.predicted.depth, second.predicted.depth))
                order_mean.append(_right(first, second, guesses[a], guesses[b]))
    return {
        "depth.pair_order": mean(order),
        "depth.pair_order_mean_map": None if average is None else mean(order_mean),
        "depth.pairs": float(len(order)),
        **_map_scores(pairs, predicted, truth, average),
    }


def _map_scores(
    pairs: Sequence[ImagePair],
    predicted: Maps | None,
    truth: Maps | None,
    average: FloatArray | None,
) -> Scores:
    ours: list[float] = []
    base: list[float] = []
    for pair in pairs:
        true = truth.get(pair.image_id) if truth else None
        if true is None or average is None:
            continue
        target = true.array()
        base.append(delta1(resize(average, target.shape), target))
        if predicted and pair.image_id in predicted:
            ours.append(delta1(resize(predicted[pair.image_id].array(), target.shape), target))
    return {"depth.delta1": mean(ours), "depth.delta1_mean_map": mean(base)}


def resize(array: FloatArray, shape: Sequence[int]) -> FloatArray:
    """A (h, w) map stretched bilinearly to another (h, w)."""
    if array.shape == tuple(shape):
        return array
    picture = Image.fromarray(array.astype(np.float32))
    stretched = picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(stretched, np.float32)


def mean_map(maps: Sequence[DepthMap]) -> FloatArray:
    """Mean of depth maps on a common grid, (256, 256)."""
    total = np.zeros(_GRID, np.float64)
    for one in maps:
        total += resize(one.array(), _GRID)
    return (total / len(maps)).astype(np.float32)


def delta1(predicted: FloatArray, truth: FloatArray) -> float:
    """Share of pixels with ratio to the truth below 1.25, after the best scale and shift.

    Both are (h, w) inverse depth; scale and shift are fitted by least squares.
    """
    x, y = predicted.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    spread = float(np.var(x))
    scale = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread if spread > 1e-12 else 0.0
    aligned = np.maximum(scale * (x - x.mean()) + y.mean(), _LOWEST)
    y = np.maximum(y, _LOWEST)
    return float(np.mean(np.maximum(aligned / y, y / aligned) < _RATIO))


def _true_step(first: Match, second: Match) -> float:
    return (first.truth.depth or 0.0) - (second.truth.depth or 0.0)


def _right(first: Match, second: Match, a: float | None, b: float | None) -> float:
    """1.0 where the depths `a` and `b` order the pair as the truth does."""
    if a is None or b is None:
        return 0.0
    return float((a - b) * _true_step(first, second) > 0)


def _size(pair: ImagePair) -> Size | None:
    row = pair.truth if pair.truth.height and pair.truth.width else pair.predicted
    return (row.height, row.width) if row.height and row.width else None


def _inside(thing: PublishedObject, depth: FloatArray | None, size: Size | None) -> float | None:
    """Median of a depth map of the whole image inside the object's mask, or its box without."""
    if depth is None:
        return None
    if thing.mask is not None:
        inside = rle_decode(thing.mask)
        size = thing.mask.size
    elif size is not None:
        inside = np.zeros(size, bool)
        x1, y1, x2, y2 = (round(value) for value in thing.box)
        inside[y1:y2, x1:x2] = True
    else:
        return None
    rows, columns = np.nonzero(inside)
    if not len(rows):
        return None
    rows = rows * depth.shape[0] // size[0]
    columns = columns * depth.shape[1] // size[1]
    return float(np.median(depth[rows, columns]))
