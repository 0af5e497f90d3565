"""Scores of referring expressions: is the one box that was given the right one?"""

from __future__ import annotations

from typing import Literal

import numpy as np

from grand_pipeline.types import FloatArray

Pixels = Literal["plain", "inclusive"]


def overlaps(predicted: FloatArray, target: FloatArray, pixels: Pixels = "plain") -> FloatArray:
    """IoU (N,) of xyxy boxes, pair by pair.

    "plain" is the usual one. "inclusive" is that of the published RefCOCO code: both ends of a box
    are pixels of it, so its sides are longer by 1, but the areas of the boxes are not.
    """
    more = 1.0 if pixels == "inclusive" else 0.0
    low = np.maximum(predicted[:, :2], target[:, :2])
    high = np.minimum(predicted[:, 2:], target[:, 2:])
    shared = np.clip(high - low + more, 0, None).prod(1)
    union = _area(predicted) + _area(target) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def precision_at(
    predicted: FloatArray, target: FloatArray, least: float = 0.5, pixels: Pixels = "plain"
) -> float:
    """Share of boxes (N, 4) whose IoU with their targets is at least `least`; 0 for none."""
    found = overlaps(predicted, target, pixels) >= least
    return float(found.mean()) if len(found) else 0.0


def best_proposal(heat: FloatArray, proposals: FloatArray) -> int:
    """Which of the proposals (N, 4), xyxy in cells of the map, the heat (H, W) stands for.

    A proposal scores the heat inside it over the root of its area, so that neither the largest nor
    the smallest one wins by its size (ALBEF, section 6.5 on weakly supervised grounding). Edges
    are rounded to whole cells, at least one.

    Raises:
        ValueError: there are no proposals.
    """
    if not len(proposals):
        raise ValueError("no proposals to choose from")
    height, width = heat.shape
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = heat.cumsum(0).cumsum(1)
    limit = np.array([width - 1, height - 1])
    low = np.clip(np.floor(proposals[:, :2] + 0.5).astype(int), 0, limit)
    high = np.maximum(np.floor(proposals[:, 2:] + 0.5).astype(int), low + 1)
    (x0, y0), (x1, y1) = low.T, np.minimum(high, limit + 1).T
    inside = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return int(np.argmax(inside / np.sqrt((x1 - x0) * (y1 - y0))))


def _area(boxes: FloatArray) -> FloatArray:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1))
