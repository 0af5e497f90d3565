"""Pictures in their square, regions where they belong, batches filled up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.data import made
from training.models.densevlm.batches import View, collate, fitted, pictures, sample

RNG = np.random.default_rng


def test_a_picture_fits_into_its_square() -> None:
    shown, size = fitted(made.row(), 32)
    assert (shown.size, size) == ((32, 32), (24, 32))
    found = pictures([made.row()], 32)
    assert found.shape == (1, 3, 32, 32) and found.dtype == torch.uint8
    border = found[0, :, 24:].flatten(1)
    assert bool((border == border[:, :1]).all())
    assert bool((found[0, :, :24].flatten(1) != border[:, :1]).any())


def test_grids_cover_the_picture_and_not_its_border() -> None:
    found = sample(made.row(), RNG(0), view=View(32))
    assert found is not None and found.crops.shape == (0, 3, 1, 1)
    assert found.boxes[:, 3].max() == pytest.approx(24 / 32) and found.boxes[:, 2].max() == 1


def test_proposals_are_boxes_of_the_row() -> None:
    found = sample(made.row(), RNG(0), view=View(64, "proposals"))
    assert found is not None
    np.testing.assert_allclose(found.boxes * 64, [[4, 8, 20, 24], [40, 20, 60, 44]], atol=1e-4)
    assert sample(made.row(made.annotation(objects=[])), RNG(0), view=View(64, "proposals")) is None
    one = sample(made.row(), RNG(0), view=View(64, "proposals", limit=1))
    assert one is not None and len(one.boxes) == 1


def test_crops_show_what_is_in_their_box() -> None:
    view = View(64, "proposals", crop=16)
    found = sample(made.row(), RNG(0), view=view)
    assert found is not None and found.crops.shape == (2, 3, 16, 16)
    picture = found.pixels[:, 8:24, 4:20].astype(int)
    assert np.abs(found.crops[0].astype(int) - picture).max() <= 1
    assert sample(made.row(), RNG(0), view=replace(view, crop=0)) is not None


def test_pictures_with_fewer_regions_are_filled_up() -> None:
    two = sample(made.row(), RNG(0), view=View(64, "proposals", crop=8))
    one = sample(made.row(), RNG(0), view=View(64, "proposals", limit=1, crop=8))
    assert two is not None and one is not None
    batch = collate([two, one])
    assert batch.known.tolist() == [[True, True], [True, False]]
    assert batch.crops.shape == (3, 3, 8, 8) and batch.pixels.dtype == torch.uint8
    torch.testing.assert_close(batch.boxes[1, 0], torch.from_numpy(one.boxes[0]))
    assert batch.ids == (two.image_id, one.image_id)
