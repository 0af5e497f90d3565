"""The check for picture-book scenes, on scenes and on stand-ins for photographs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from grand_pipeline.novelty import SAMPLE, THRESHOLD, looks_like_picturebook, score
from grand_pipeline.picturebook.render import render


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    return [Image.fromarray(render(90210, i, held_out=True).image) for i in range(12)]


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


def _noise() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))


def _gradient() -> Image.Image:
    ramp = np.linspace(0, 255, 400)
    pixels = np.stack(
        [
            np.tile(ramp, (300, 1)),
            np.full((300, 400), 180),
            255 - ramp * 0.4 + 0 * np.zeros((300, 1)),
        ],
        -1,
    )
    return Image.fromarray(pixels.astype(np.uint8))


def _blurred() -> Image.Image:
    return _noise().resize((40, 30)).resize((900, 600)).filter(ImageFilter.GaussianBlur(20))


def _landscape() -> Image.Image:
    """Blue sky that fades, and a textured ground."""
    rng = np.random.default_rng(1)
    sky = np.linspace((90, 140, 220), (225, 235, 250), 300)[:, None] + rng.normal(
        0, 2, (300, 600, 3)
    )
    ground = np.array((110, 120, 70)) + rng.normal(0, 18, (200, 600, 3))
    return Image.fromarray(np.concatenate([sky, ground]).clip(0, 255).astype(np.uint8))


def _screenshot() -> Image.Image:
    image = Image.new("RGB", (1280, 800), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 1280, 60), fill=(40, 90, 200))
    pen.rectangle((0, 60, 220, 800), fill=(240, 240, 244))
    for row in range(80, 800, 26):
        pen.text((240, row), "some text on a page " * 8, fill=(40, 40, 40))
    return image


PHOTOGRAPHS = [_noise(), _gradient(), _blurred(), _landscape(), _screenshot()]


def test_scenes_are_known(scenes: list[Image.Image]) -> None:
    assert min(score(scene) for scene in scenes) > THRESHOLD
    assert looks_like_picturebook(scenes).ok


@pytest.mark.parametrize("quality", [90, 75, 30])
def test_compressed_scenes_are_known(scenes: list[Image.Image], quality: int) -> None:
    assert min(score(_jpeg(scene, quality)) for scene in scenes) > THRESHOLD


@pytest.mark.parametrize("side", [128, 200, 768])
def test_resized_scenes_are_known(scenes: list[Image.Image], side: int) -> None:
    for scene in scenes:
        assert score(scene.resize((side, side), Image.Resampling.BICUBIC)) > THRESHOLD


@pytest.mark.parametrize("number", range(len(PHOTOGRAPHS)))
def test_other_images_are_not(number: int) -> None:
    assert score(PHOTOGRAPHS[number]) < THRESHOLD


def test_other_images_are_refused_and_the_finding_is_told() -> None:
    verdict = looks_like_picturebook(PHOTOGRAPHS)
    assert not verdict.ok
    assert (verdict.share, len(verdict.scores)) == (0.0, 5)
    assert "0 of 5" in verdict.describe()


def test_the_majority_decides(scenes: list[Image.Image]) -> None:
    assert looks_like_picturebook([*scenes[:5], *PHOTOGRAPHS]).ok
    assert not looks_like_picturebook([*scenes[:4], *PHOTOGRAPHS]).ok


def test_only_a_sample_is_opened(scenes: list[Image.Image]) -> None:
    opened = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal opened
        while True:
            opened += 1
            yield scenes[0]

    assert len(looks_like_picturebook(endless()).scores) == SAMPLE
    assert opened == SAMPLE


def test_without_images_there_is_no_objection() -> None:
    assert looks_like_picturebook([]).ok


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (2000, 8)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    assert 0.0 <= score(Image.new("RGB", size, (196, 226, 246))) <= 1.0


def test_grey_and_palette_images_are_judged_too() -> None:
    assert score(PHOTOGRAPHS[3].convert("L")) < THRESHOLD
    assert score(PHOTOGRAPHS[3].convert("P")) < THRESHOLD
