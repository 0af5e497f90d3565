"""Features of boxes and masks against sample by sample; grids cover the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.models.densevlm.regions import grid_boxes, pool_boxes, pool_masks


def _sample(cells: np.ndarray, y: float, x: float) -> np.ndarray:
    """Bilinear, zero beyond one cell outside, the border within it."""
    height, width = cells.shape[:2]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(cells.shape[2])
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy, dx = y - y0, x - x0
    top = (1 - dx) * cells[y0, x0] + dx * cells[y0, x1]
    return np.asarray((1 - dy) * top + dy * ((1 - dx) * cells[y1, x0] + dx * cells[y1, x1]))


def _roi(cells: np.ndarray, box: np.ndarray) -> np.ndarray:
    height, width = cells.shape[:2]
    x1, y1, x2, y2 = box * np.array([width, height, width, height])
    rows, columns = max(math.ceil(y2 - y1), 1), max(math.ceil(x2 - x1), 1)
    samples = [
        _sample(
            cells,
            y1 - 0.5 + (i + 0.5) * (y2 - y1) / rows,
            x1 - 0.5 + (j + 0.5) * (x2 - x1) / columns,
        )
        for i in range(rows)
        for j in range(columns)
    ]
    return np.asarray(np.mean(samples, 0))


def test_boxes_are_the_mean_of_bilinear_samples() -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(2, 5, 7, 3))
    ends = np.sort(rng.uniform(size=(2, 20, 2, 2)), axis=2)
    boxes = ends.reshape(2, 20, 4)
    boxes[0, 0], boxes[0, 1], boxes[0, 2] = (0, 0, 1, 1), (0.5, 0.5, 0.5, 0.5), (0, 0, 0.01, 1)
    found = pool_boxes(torch.from_numpy(cells), torch.from_numpy(boxes)).numpy()
    wanted = [[_roi(c, box) for box in some] for c, some in zip(cells, boxes, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_constant_map_is_constant_everywhere() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.3, 0.2, 0.35, 0.9], [0.9, 0.9, 1.0, 1.0]]])
    found = pool_boxes(torch.full((1, 6, 6, 2), 3.0), boxes)
    torch.testing.assert_close(found, torch.full((1, 3, 2), 3.0))


def test_masks_are_weighted_means() -> None:
    cells = torch.arange(8.0).reshape(1, 2, 2, 2)
    masks = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]], [[0.5, 0.0], [0.0, 1.0]], [[0, 0], [0, 0]]]])
    found = pool_masks(cells, masks)
    wanted = torch.tensor([[[0.0, 1.0], [4.0, 5.0], [0.0, 0.0]]])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("seed", range(6))
def test_a_grid_covers_the_picture_once(seed: int) -> None:
    cells = grid_boxes(np.random.default_rng(seed))
    areas = (cells[:, 2:] - cells[:, :2]).prod(1)
    assert areas.sum() == pytest.approx(1, abs=1e-5)
    assert len(np.unique(cells, axis=0)) == len(cells) <= 36
    assert cells.min() >= 0 and cells.max() <= 1


def test_cells_above_the_limit_are_drawn() -> None:
    sizes = {len(grid_boxes(np.random.default_rng(seed), 8, 5)) for seed in range(40)}
    assert max(sizes) == 5 and 4 in sizes
    with_all = [grid_boxes(np.random.default_rng(seed), 8, 64) for seed in range(40)]
    assert max(map(len, with_all)) > 36
