"""Scores and pictures of a tower whose patches say the colour they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from grand_pipeline.columns import PublishedObject
from tests.training.data import made
from training.data.rows import Row
from training.models.densevlm import pictures
from training.models.densevlm.export import Trained
from training.models.densevlm.scores import look, scores
from training.models.densevlm.towers import Tower

RED, BLUE, GREEN = (4.0, 4.0, 20.0, 20.0), (32.0, 8.0, 48.0, 32.0), (0.0, 40.0, 64.0, 48.0)


class _Colors(nn.Module):
    """The mean colour of every 4 x 4 patch."""

    blocks = nn.ModuleList()
    idle = ()

    def dense(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels, 4).permute(0, 2, 3, 1)

    def embed(self, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3))


def _picture() -> Image.Image:
    pixels = np.full((48, 64, 3), 10, np.uint8)
    for channel, (x1, y1, x2, y2) in ((0, RED), (2, BLUE), (1, GREEN)):
        pixels[int(y1) : int(y2), int(x1) : int(x2), channel] = 250
    return Image.fromarray(pixels)


def _row(objects: Sequence[PublishedObject]) -> Row:
    return made.row(made.annotation(objects=objects), _picture)


def _trained(texts: Tensor | None = None) -> Trained:
    tower = Tower(_Colors(), 4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Trained(
        tower, 64, ("red", "blue"), ("green",), torch.eye(3)[[0, 2, 1]] if texts is None else texts
    )


OBJECTS = (
    made.thing(0, RED, "Red"),
    made.thing(1, BLUE, "blue"),
    made.thing(2, GREEN, "green"),
    made.thing(3, RED, "unheard of"),
    made.thing(4, (0, 0, 6, 6), "blue"),
)


def test_regions_are_what_their_patches_say() -> None:
    trained = _trained()
    found = scores(trained, look(trained, [_row(OBJECTS[:4])]))
    assert all(found[f"{part}.top1"] == 1 for part in ("boxes", "masks_t", "masks_s"))
    assert [found[f"{part}.count"] for part in ("boxes", "masks_t", "masks_s")] == [2, 2, 1]
    assert found["unknown"] == 1


def test_boxes_that_are_too_small_do_not_count_but_their_masks_do() -> None:
    found = scores(_trained(), look(_trained(), [_row([OBJECTS[1], OBJECTS[4]])]))
    assert (found["boxes.count"], found["masks_t.count"]) == (1, 2)


def test_stuff_that_is_called_a_thing_is_told() -> None:
    wrong = _trained(torch.eye(3)[[1, 2, 0]])
    found = scores(wrong, look(wrong, [_row(OBJECTS[:3])]))
    assert found["masks_s.called_things"] == 1 and found["masks_s.top1"] == 0
    assert found["masks_t.called_stuff"] == 0.5 and found["masks_t.top1"] == pytest.approx(0.5)
    assert found["masks_s.top5"] == 1


def test_an_attribute_and_a_label_can_be_a_category() -> None:
    trained = _trained()
    named = Trained(trained.tower, 64, ("warm thing", "thing"), ("green",), trained.texts)
    warm, cold = made.thing(0, RED, "thing", "warm"), made.thing(1, BLUE, "thing", "cold")
    seen = look(named, [_row([warm, cold])])
    assert seen.boxes.target.tolist() == [0, 1] and seen.unknown == 0
    assert scores(named, seen)["boxes.top1"] == 1


def test_nothing_to_judge_is_nothing() -> None:
    found = scores(_trained(), look(_trained(), [_row([])]))
    assert found["boxes.top1"] == found["masks_s.count"] == 0


def test_a_confusion_matrix_is_dark_where_masks_are_called() -> None:
    table = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]], np.int64)
    page = np.asarray(pictures.matrix(table, ("a", "b", "c"), 2)).astype(int)
    cells = page[-36:, -36:][4::12, 4::12, 0]
    assert cells.tolist() == [[64, 191, 255], [255, 255, 255], [255, 255, 0]]
    many = pictures.matrix(np.eye(200, dtype=np.int64), [str(n) for n in range(200)], 100)
    assert many.size == (800, 800)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    trained, row = _trained(), _row(OBJECTS)
    drawn = pictures.draw(trained, look(trained, [row]), [row], tmp_path)
    assert [path.name for path in drawn] == ["confusion.png", f"{row.image_id}-patches.png"]
    with Image.open(drawn[1]) as page:
        assert page.size == (3 * 512, 512 + 20)
        # The legend begins with the colour that tints what fills most of the picture.
        named, tinted = (np.array(page.getpixel(at)) for at in ((10, 512 + 10), (516, 4)))
        assert tinted == pytest.approx(0.6 * named + 0.4 * 10, abs=1)
        # Every patch of the red box is tinted alike, another one otherwise.
        tints = [page.getpixel((512 + 8 * x, 8 * y)) for x, y in ((8, 8), (16, 16), (40, 20))]
    assert tints[0] == tints[1] != tints[2]
    assert len(pictures.draw(trained, look(trained, []), [], tmp_path / "none")) == 1
