import numpy as np
import pytest
from PIL import Image

from grand_pipeline.types import Box
from stages.crops import LEAST_SIDE, crop, workable


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 2000), (5, 9)])
def test_strips_become_workable(size: tuple[int, int]) -> None:
    shaped = workable(Image.new("RGB", size), aspect=4.0)
    assert min(shaped.size) >= LEAST_SIDE
    assert max(shaped.size) <= 4 * min(shaped.size)
    assert max(shaped.size) == max(*size, LEAST_SIDE)


def test_ordinary_image_is_left_alone() -> None:
    image = Image.new("RGB", (60, 40))
    assert workable(image) is image


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((10.0, 5.0, 20.0, 15.0), (10, 10)),
        ((10.2, 5.0, 10.3, 5.1), (1, 1)),
        ((60.0, 40.0, 60.0, 40.0), (1, 1)),
        ((-5.0, -5.0, 100.0, 100.0), (60, 40)),
    ],
)
def test_crop_is_inside_the_image_and_never_empty(box: Box, size: tuple[int, int]) -> None:
    assert crop(Image.new("RGB", (60, 40)), box).size == size


def test_margin_widens_every_side() -> None:
    image = Image.fromarray(np.arange(60 * 40, dtype=np.uint8).reshape(40, 60))
    wide = crop(image, (20.0, 10.0, 30.0, 20.0), margin=0.2)
    assert wide.size == (14, 14)
    assert wide.getpixel((0, 0)) == image.getpixel((18, 8))
