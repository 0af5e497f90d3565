"""Prompts and targets of the mask recipe."""

from __future__ import annotations

import numpy as np
import torch

from grand_pipeline.picturebook.render import render
from training.recipes.picturebook.mask_scores import iou
from training.recipes.picturebook.mask_targets import BOXES, MASK, POINTS, SIZE, make_batch
from training.recipes.picturebook.masks import Student, _mask_loss
from training.recipes.picturebook.scenes import TRAIN_SEED


def test_batch_depends_on_the_step_alone() -> None:
    first, again, other = make_batch(3, 2, 10), make_batch(3, 2, 10), make_batch(4, 2, 10)
    assert torch.equal(first.boxes, again.boxes)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.boxes, other.boxes)


def test_points_lie_on_their_soft_masks() -> None:
    batch = make_batch(0, 3, 10)
    cells = (batch.points[:, :, 0] * MASK / SIZE).long().clamp(max=MASK - 1)
    for picture in range(3):
        for k in range(POINTS):
            x, y = cells[picture, k].tolist()
            assert batch.masks[picture, BOXES + k, y, x] > 0


def test_masks_keep_the_area_and_windows_hold_them() -> None:
    batch = make_batch(1, 2, 10)
    scenes = [render(TRAIN_SEED, 1 * 2 + i) for i in range(2)]
    shares = {round(float((s.ids == o.id).mean()), 3) for s in scenes for o in s.objects}
    for area in batch.masks.mean((-1, -2)).flatten().tolist():
        assert min(abs(area - share) for share in shares) < 2e-3
    assert float((batch.masks * (1 - batch.windows)).sum()) == 0.0


def test_mask_loss_is_low_for_the_truth_and_high_for_its_opposite() -> None:
    batch = make_batch(0, 1, 10)
    truth = (batch.masks[:, :BOXES, None] - 0.5) * 40
    ious = torch.ones(1, BOXES, 1)
    good, good_iou, best = _mask_loss(truth, ious, batch, slice(0, BOXES))
    bad, bad_iou, _ = _mask_loss(-truth, ious, batch, slice(0, BOXES))
    assert float(good) < 0.45 < 2.0 < float(bad)
    assert float(good_iou) < 1e-6 < float(bad_iou)
    assert float(best) > 0.999


def test_student_answers_every_prompt() -> None:
    batch = make_batch(0, 1, 10)
    with torch.no_grad():
        boxes, box_ious, points, point_ious, _ = Student()(batch)
    assert boxes.shape[:2] == (1, BOXES) and boxes.shape[-2:] == (MASK, MASK)
    assert points.shape == (1, POINTS, 3, MASK, MASK)
    assert box_ious.shape[:2] == (1, BOXES) and point_ious.shape == (1, POINTS, 3)


def test_iou_of_masks() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert iou(a, b) == 4 / 12
    assert iou(a, a) == 1.0
    assert iou(a & ~a, b & ~b) == 0.0
