"""Scores of pixels: mean IoU over classes, and masks and groups beside the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grand_pipeline.types import BoolArray
from training.metrics.classification import confusion

LabelMap = NDArray[np.int64]
"""A class for every pixel (H, W); negative where there is none."""


def confused(predicted: LabelMap, target: LabelMap, classes: int) -> LabelMap:
    """How many pixels of class t are called p: counts (classes, classes + 1), summed over pictures.

    The last column counts those called nothing. Pixels without a true class are left out.
    """
    known = target >= 0
    called = np.where(predicted[known] >= 0, predicted[known], classes)
    return confusion(called, target[known], classes + 1)[:classes]


def mean_iou(table: LabelMap) -> float:
    """The mean IoU of classes of which there are pixels, from counts of `confused`; 0 for none.

    As usual pixels are counted over all pictures, so it is no mean over pictures.
    """
    count = len(table)
    right = table[np.arange(count), np.arange(count)]
    union = table.sum(1) + table[:, :count].sum(0) - right
    there = table.sum(1) > 0
    return float(np.mean(right[there] / union[there])) if there.any() else 0.0


def jaccard(found: BoolArray, masks: BoolArray) -> NDArray[np.float64]:
    """Jaccard index (M, K) of masks (M, H, W) and other masks (K, H, W)."""
    ours = found.reshape(len(found), -1).astype(np.float64)
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    shared = flat @ ours.T
    union = flat.sum(1)[:, None] + ours.sum(1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def members(groups: LabelMap, count: int) -> BoolArray:
    """The pixels (count, H, W) of each of `count` groups."""
    return np.asarray(groups == np.arange(count)[:, None, None])


def oracle(groups: LabelMap, count: int, target: LabelMap, classes: int) -> LabelMap:
    """The classes that groups would have if they were told: for each the one of highest IoU.

    A group that touches no class has none (-1). It is the best that naming can make of the groups
    (supplement of GroupViT, section 3.3).
    """
    masks = np.stack([target == number for number in range(classes)])
    table = jaccard(members(groups, count), masks)
    best = np.where(table.max(0) > 0, table.argmax(0), -1)
    return np.asarray(best[groups], np.int64)


def attended(attention: NDArray[np.floating], share: float = 0.6) -> BoolArray:
    """Which cells (K, H, W) hold the first `share` of the mass of attention (K, H, W), by map.

    The largest first, until the share is reached (DINO; Caron et al., ICCV 2021, section 4.2.2).
    """
    flat = attention.reshape(len(attention), -1).astype(np.float64)
    order = np.argsort(-flat, axis=1, kind="stable")
    ranked = np.take_along_axis(flat, order, 1)
    before = (ranked.cumsum(1) - ranked) / np.maximum(ranked.sum(1, keepdims=True), 1e-12)
    held = np.zeros(flat.shape, bool)
    np.put_along_axis(held, order, before < share, 1)
    return held.reshape(attention.shape)
