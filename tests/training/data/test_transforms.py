from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from grand_pipeline import geometry, images
from grand_pipeline.types import Box
from tests.training.data.made import SIZE, TEXT, annotation, picture, row, thing
from training.data import transforms, views
from training.data.frame import FILL, Frame
from training.data.rows import Row


def boxes(height: int = SIZE[0], width: int = SIZE[1]) -> st.SearchStrategy[Box]:
    xs = st.tuples(st.integers(0, width - 1), st.integers(1, width)).filter(lambda p: p[0] < p[1])
    ys = st.tuples(st.integers(0, height - 1), st.integers(1, height)).filter(lambda p: p[0] < p[1])
    return st.builds(lambda x, y: (float(x[0]), float(y[0]), float(x[1]), float(y[1])), xs, ys)


@st.composite
def augmented(draw: st.DrawFn) -> Row:
    """A row of random objects after a random chain of transforms."""
    found = [thing(n, box, "ball") for n, box in enumerate(draw(st.lists(boxes(), max_size=4)))]
    seen = row(annotation(objects=found))
    for kind in draw(st.lists(st.sampled_from(("crop", "resize", "flip", "random")), max_size=5)):
        height, width = seen.size
        if kind == "crop":
            seen = transforms.crop(seen, draw(boxes(height, width)), visible=0.0)
        elif kind == "resize":
            seen = transforms.resize(seen, draw(st.tuples(st.integers(1, 80), st.integers(1, 80))))
        elif kind == "flip":
            seen = transforms.flip(seen)
        else:
            rng = np.random.default_rng(draw(st.integers(0, 99)))
            seen = transforms.random_resized_crop(seen, rng, (32, 40))
    return seen


@given(augmented())
@settings(max_examples=60)
def test_boxes_stay_inside_and_fit_their_masks(seen: Row) -> None:
    height, width = seen.size
    for item in seen.objects:
        x1, y1, x2, y2 = item.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        mask = seen.mask(item)
        assert mask is not None and mask.shape == seen.size
        if mask.any():
            # A mask is made of pixels, so its box is that of the object to within half of one.
            tight = geometry.rle_box(geometry.rle_encode(mask))
            assert np.abs(np.subtract(tight, item.box)).max() <= 0.5 + 1e-3
        else:
            assert min(x2 - x1, y2 - y1) <= 1 + 1e-3


@given(augmented())
@settings(max_examples=60)
def test_spans_hold_the_words_of_their_objects(seen: Row) -> None:
    for text in views.grounded_caption(seen):
        for span in text.spans:
            assert text.text[span.start : span.end] in ("A red ball", "a blue box")
            assert set(span.object_ids) <= set(seen.by_id)
    for relation in seen.relations:
        assert {relation.subject, relation.object} <= set(seen.by_id)
        side = "right" if seen.frame.mirrored else "left"
        assert relation.predicate == f"to the {side} of"


@given(augmented())
@settings(max_examples=30)
def test_the_mirror_of_a_view_is_its_mirror_image(seen: Row) -> None:
    other = transforms.flip(seen)
    assert np.array_equal(other.pixels(), seen.pixels()[:, ::-1])
    width = seen.size[1]
    for mine, theirs in zip(seen.objects, other.objects, strict=True):
        x1, y1, x2, y2 = mine.box
        assert theirs.box == pytest.approx((width - x2, y1, width - x1, y2), abs=1e-3)
        mask, mirrored = seen.mask(mine), other.mask(theirs)
        assert mask is not None and mirrored is not None
        assert np.array_equal(mirrored, mask[:, ::-1])
    back = transforms.flip(other)
    assert back.captions == seen.captions
    assert back.objects == seen.objects


def test_a_crop_shows_exactly_the_pixels_of_its_box() -> None:
    seen = transforms.crop(row(), (10.0, 5.0, 50.0, 45.0))
    whole = np.asarray(picture())
    assert np.array_equal(seen.pixels(), whole[5:45, 10:50])
    again = transforms.crop(seen, (2.0, 3.0, 12.0, 13.0))
    assert np.array_equal(again.pixels(), whole[8:18, 12:22])
    mirrored = transforms.crop(transforms.flip(row()), (0.0, 0.0, 10.0, 48.0))
    assert np.array_equal(mirrored.pixels(), whole[:, 54:][:, ::-1])


def test_objects_mostly_outside_a_crop_are_gone_from_all_values() -> None:
    # The ball is 16 wide: at 12 a crop keeps exactly half of it, which is not more than half.
    half = transforms.crop(row(), (12.0, 0.0, 64.0, 48.0))
    assert [o.label for o in half.objects] == ["box"]
    assert [p.text for p in half.phrases] == ["a blue box"]
    assert half.relations == ()
    assert [s.object_ids for s in half.captions[0].spans] == [(1,)]
    assert half.captions[0].text == TEXT
    more = transforms.crop(row(), (11.0, 0.0, 64.0, 48.0))
    assert more.objects[0].box == (0.0, 8.0, 9.0, 24.0)
    assert len(more.relations) == 1


def test_padding_adds_border_and_moves_nothing() -> None:
    seen = transforms.pad(row(), (60, 70))
    pixels = seen.pixels()
    assert np.array_equal(pixels[:48, :64], np.asarray(picture()))
    assert (pixels[48:] == FILL).all() and (pixels[:, 64:] == FILL).all()
    assert np.array_equal(seen.boxes, row().boxes)
    mask = seen.mask(seen.objects[0])
    assert mask is not None and mask.sum() == 256
    mirrored = transforms.pad(transforms.flip(row()), (48, 70))
    assert np.array_equal(mirrored.pixels()[:, :64], np.asarray(picture())[:, ::-1])
    assert (mirrored.pixels()[:, 64:] == FILL).all()
    with pytest.raises(ValueError, match="48 x 64 can not be padded to 40 x 70"):
        transforms.pad(row(), (40, 70))


def test_longest_and_shortest_side() -> None:
    assert transforms.resize_longest(row(), 32).size == (24, 32)
    assert transforms.resize_shortest(row(), 96).size == (96, 128)
    assert transforms.resize(row(), (10, 20)).boxes[0] == pytest.approx(
        [4 / 64 * 20, 8 / 48 * 10, 20 / 64 * 20, 24 / 48 * 10]
    )


@given(boxes(), st.integers(0, 50))
def test_a_crop_around_a_box_holds_all_of_it(box: Box, seed: int) -> None:
    found = row(annotation(objects=[thing(0, box, "ball")]))
    seen = transforms.random_crop_around(found, np.random.default_rng(seed), box)
    x1, y1, x2, y2 = seen.objects[0].box
    assert (x2 - x1, y2 - y1) == pytest.approx((box[2] - box[0], box[3] - box[1]), abs=1e-3)


@given(st.integers(0, 30))
def test_random_resized_crop_keeps_to_its_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = transforms.random_resized_crop(row(), rng, (32, 32), scale=(0.3, 0.5), ratio=(0.8, 1.25))
    x1, y1, x2, y2 = seen.frame.window
    assert 0 <= x1 < x2 <= 64 and 0 <= y1 < y2 <= 48
    assert 0.26 < (x2 - x1) * (y2 - y1) / (64 * 48) < 0.55
    assert 0.75 < (x2 - x1) / (y2 - y1) < 1.35
    assert seen.pixels().shape == (32, 32, 3)


def test_colour_changes_are_seeded_and_leave_the_shape() -> None:
    pixels = np.asarray(picture())
    for change in (transforms.color_jitter, transforms.random_color_ops):
        first, again = (change(pixels, np.random.default_rng(3)) for _ in range(2))
        other = change(pixels, np.random.default_rng(4))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert first.shape == pixels.shape and first.dtype == np.uint8


def test_normalize_by_hand() -> None:
    pixels = np.array([[[0, 255, 51]]], np.uint8)
    found = transforms.normalize(pixels, (0.5, 0.5, 0.1), (0.5, 0.25, 0.2))
    assert found.dtype == np.float32
    assert found[:, 0, 0] == pytest.approx([-1.0, 2.0, 0.5], abs=1e-6)


def test_relative_boxes_by_hand() -> None:
    found = transforms.relative_boxes(np.array([[10, 20, 30, 60]], np.float32), (80, 40))
    assert found.tolist() == [[0.5, 0.5, 0.5, 0.5]]


def test_a_frame_outside_of_the_picture_is_border() -> None:
    frame = Frame((100.0, 100.0, 120.0, 110.0), (10, 20))
    assert (frame.pixels(picture()) == FILL).all()
    assert not frame.mask(np.ones(SIZE, bool)).any()


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(coarse).resize((643, 481), Image.Resampling.BICUBIC).save(held, "JPEG")
    whole = images.decode(held.getvalue())
    asked: list[float] = []

    def smaller(scale: float) -> Image.Image:
        asked.append(scale)
        return images.decode(held.getvalue(), scale=scale)

    found = replace(row(annotation(objects=[], size=(481, 643))), open_smaller=smaller)
    for crop in ((0.0, 0.0, 643.0, 481.0), (100.0, 50.0, 643.0, 481.0), (3.0, 5.0, 600.0, 400.0)):
        seen = transforms.flip(transforms.resize(transforms.crop(found, crop), (60, 80)))
        expected = seen.frame.pixels(whole).astype(np.int64)
        assert np.abs(seen.pixels().astype(np.int64) - expected).mean() < 1.5
        assert "image" not in seen.__dict__
    assert len(asked) == 3 and all(0.1 < scale < 0.2 for scale in asked)
    assert transforms.resize(found, (400, 500)).frame.share > 0.5
