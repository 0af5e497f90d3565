"""Precision at an IoU, and the choice among proposals, on cases known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from grand_pipeline import geometry
from training.metrics import grounding


def _boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_half_an_overlap_is_enough() -> None:
    target = _boxes((0, 0, 4, 2), (0, 0, 4, 2), (0, 0, 4, 2))
    found = _boxes((0, 0, 2, 2), (0, 0, 1, 2), (9, 9, 10, 10))
    assert grounding.overlaps(found, target).tolist() == [0.5, 0.25, 0]
    assert grounding.precision_at(found, target) == pytest.approx(1 / 3)
    assert grounding.precision_at(found, target, 0.25) == pytest.approx(2 / 3)


def test_plain_overlap_is_the_projects_iou() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 5, (2, 20, 2))
    a, b = np.concatenate([low, low + rng.uniform(1, 5, (2, 20, 2))], 2).astype(np.float32)
    np.testing.assert_allclose(grounding.overlaps(a, b), np.diag(geometry.iou(a, b)), rtol=1e-5)


def test_inclusive_pixels_lengthen_the_intersection_alone() -> None:
    # Sides of the intersection 2 + 1 and 2 + 1: 9 of 8 + 4 - 9.
    found = grounding.overlaps(_boxes((0, 0, 2, 2)), _boxes((0, 0, 4, 2)), "inclusive")
    assert found.tolist() == [pytest.approx(9 / (4 + 8 - 9))]


def test_no_boxes_have_no_precision() -> None:
    assert grounding.precision_at(_boxes(), _boxes()) == 0.0


def test_the_proposal_round_the_heat_wins() -> None:
    heat = np.zeros((8, 8), np.float32)
    heat[2:4, 5:7] = 1.0
    # 4 / 2, 4 / 8 and 2 / sqrt(2) of the tight, the whole and the half one.
    proposals = _boxes((0, 0, 8, 8), (5, 2, 6, 4), (5, 2, 7, 4))
    assert grounding.best_proposal(heat, proposals) == 2


def test_a_proposal_smaller_than_a_cell_has_one() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[3, 3] = 1.0
    assert grounding.best_proposal(heat, _boxes((0, 0, 4, 4), (3.6, 3.6, 3.9, 3.9))) == 1


def test_a_choice_needs_proposals() -> None:
    with pytest.raises(ValueError, match="no proposals"):
        grounding.best_proposal(np.zeros((2, 2), np.float32), _boxes())
