"""What a map of patches says of boxes and masks, and the random grids that training asks about.

A RoIAlign with one sample per cell is separable: weights along the height and along the width of
the map, and one product of both with the map.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from grand_pipeline.types import FloatArray


def pool_boxes(maps: Tensor, boxes: Tensor) -> Tensor:
    """Mean features (B, R, D) of boxes (B, R, 4), xyxy in fractions, on maps (B, h, w, D).

    RoIAlign (He et al. 2017) with one output cell, aligned corners and as many samples as a box
    has cells, rounded up.
    """
    height, width = maps.shape[1:3]
    rows = _weights(boxes[..., 1] * height, boxes[..., 3] * height, height)
    columns = _weights(boxes[..., 0] * width, boxes[..., 2] * width, width)
    return torch.einsum("brh,brw,bhwd->brd", rows.to(maps), columns.to(maps), maps)


def pool_masks(maps: Tensor, masks: Tensor) -> Tensor:
    """Weighted mean features (B, M, D) of masks (B, M, h, w), weights of cells, on (B, h, w, D).

    A mask without any weight has features of nothing.
    """
    weights = masks.to(maps)
    total = weights.sum((2, 3)).clamp(min=1e-6)
    return torch.einsum("bmhw,bhwd->bmd", weights, maps) / total[..., None]


def grid_boxes(rng: Generator, most: int = 6, limit: int = 36) -> FloatArray:
    """Cells (n, 4), xyxy in fractions, of a random grid of the picture, `limit` of them at most.

    A grid has m in 2..`most` rows and n columns, n from m // 2 + 1 to min(2 m, `most`), all pairs
    alike likely; cells above the limit are drawn.
    """
    pairs = [(m, n) for m in range(2, most + 1) for n in range(m // 2 + 1, min(2 * m, most) + 1)]
    m, n = pairs[int(rng.integers(len(pairs)))]
    top, left = (axis.ravel() for axis in np.meshgrid(np.arange(m), np.arange(n), indexing="ij"))
    cells = np.stack([left / n, top / m, (left + 1) / n, (top + 1) / m], 1)
    if len(cells) > limit:
        cells = cells[np.sort(rng.permutation(len(cells))[:limit])]
    return cells.astype(np.float32)


def _weights(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Weights (..., cells) of the samples of intervals, in cells of an axis."""
    start, end = start.float(), end.float()
    length = (end - start).clamp(min=0)
    count = length.ceil().clamp(min=1, max=cells + 1)
    place = torch.arange(cells + 1, device=start.device)
    samples = start[..., None] - 0.5 + (place + 0.5) * (length / count)[..., None]
    # As in the published operation: a sample up to one cell outside takes the border, one
    # further out takes nothing.
    counts = (place < count[..., None]) & (samples >= -1) & (samples <= cells)
    near = samples.clamp(0, cells - 1)[..., None] - torch.arange(cells, device=start.device)
    shares = (1 - near.abs()).clamp(min=0) * counts[..., None]
    return shares.sum(-2) / count[..., None]
