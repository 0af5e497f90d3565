"""What is shown: texts with their boxes, one half of the pictures with and one without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from grand_pipeline.types import Caption
from tests.tiny import words as tiny_words
from tests.training.data import made
from training.models.xvlm.batches import (
    WHOLE,
    Sample,
    View,
    Words,
    boxed,
    captioned,
    collate,
    words,
)
from training.models.xvlm.losses import IGNORED

VIEW = View(side=32, tokens=12, flip=0.0, color_ops=0)
TOKENIZER = tiny_words.bert_tokenizer()


def _words(view: View = VIEW) -> Words:
    return words(TOKENIZER, view)


def _said(sample: Sample) -> set[str]:
    return {TOKENIZER.decode(text.tokens).removeprefix("[CLS]").strip() for text in sample.texts}


def test_texts_are_cleaned_and_cut() -> None:
    plain = _words().read("The red-car!")
    assert plain is not None
    assert TOKENIZER.decode(plain) == "[CLS] the red car"
    long = _words().read("red " * 40)
    assert long is not None and len(long) == 12
    assert _words().read("?!") is None


def test_a_caption_is_about_the_whole_picture() -> None:
    sample = captioned(made.row(), np.random.default_rng(0), words=_words())
    assert sample is not None
    assert sample.pixels.shape == (3, 32, 32) and sample.pixels.dtype == np.float32
    (text,) = sample.texts
    assert text.box == WHOLE
    assert (text.labels != IGNORED).any()


def test_a_picture_without_captions_is_no_pair() -> None:
    bare = made.row(replace(made.annotation(), captions=()))
    assert captioned(bare, np.random.default_rng(0), words=_words()) is None


def test_boxes_stand_where_their_objects_are_shown() -> None:
    # A white ball on black: whatever is cropped and mirrored, its box is where the white is.
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (64, 48))
    ImageDraw.Draw(picture).rectangle((40, 20, 59, 43), fill="white")
    view = replace(VIEW, side=64, flip=0.5, texts=9)
    for seed in range(12):
        row = made.row(open_image=lambda: picture)
        sample = boxed(row, np.random.default_rng(seed), words=_words(view))
        assert sample is not None
        group = {t.group: t for t in sample.texts}.get(_group("blue box"))
        if group is None:
            continue
        ys, xs = np.nonzero(sample.pixels[0] > 0)
        seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / 64
        cx, cy, w, h = group.box
        np.testing.assert_allclose(
            [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], seen, atol=0.06
        )


def _group(text: str) -> int:
    made_text = _words().masked(text, WHOLE, np.random.default_rng(0))
    assert made_text is not None
    return made_text.group


@pytest.mark.parametrize(
    ("view", "boxes"),
    [
        (VIEW, {"red ball", "blue box", "a red ball", "a blue box"}),
        (replace(VIEW, region=False), {"red ball", "blue box"}),
        (replace(VIEW, object=False), {"a red ball", "a blue box"}),
        (replace(VIEW, object=False, region=False), set()),
    ],
)
def test_objects_and_regions_can_be_left_out(view: View, boxes: set[str]) -> None:
    found: set[int] = set()
    for seed in range(20):
        sample = boxed(made.row(), np.random.default_rng(seed), words=_words(view))
        assert sample is not None and 1 <= len(sample.texts) <= view.texts
        found |= {text.group for text in sample.texts if text.box != WHOLE}
    every = {"red ball", "blue box", "a red ball", "a blue box"}
    assert {text for text in every if _group(text) in found} == boxes


def test_a_picture_of_nothing_gives_nothing() -> None:
    bare = made.row(replace(made.annotation(objects=()), captions=(Caption("m", "?", ()),)))
    assert boxed(bare, np.random.default_rng(0), words=_words()) is None


def test_a_batch_has_the_same_number_of_texts_always() -> None:
    rng = np.random.default_rng(0)
    pairs = [captioned(made.row(), rng, words=_words()) for _ in range(2)]
    regions = [boxed(made.row(), rng, words=_words()) for _ in range(2)]
    held = [s for s in pairs if s], [s for s in regions if s]
    for rows in (3, 20):
        batch = collate(*held, rows, 4)
        assert batch.pixels.shape == (4, 3, 32, 32)
        assert batch.image.tolist()[:2] == [0, 1]
        assert set(batch.image.tolist()[2:]) == {2, 3}
        assert len(batch.tokens) == len(batch.groups) == len(batch.inside) == 2 + rows
        assert bool(batch.is_image[:2].all())
        assert bool(batch.inside[batch.is_image].all())
        assert bool((batch.mask == (torch.cumsum(batch.mask, 1) > 0)).any())
        masked = batch.labels != IGNORED
        assert bool((batch.tokens[masked] == batch.labels[masked]).all())
        assert bool((batch.tokens[~masked] == batch.hidden[~masked]).all())
        assert len(batch.ids) == 4


def test_texts_are_taken_in_turns() -> None:
    regions = [boxed(made.row(), np.random.default_rng(s), words=_words()) for s in range(3)]
    batch = collate([], [s for s in regions if s], 3, 4)
    assert batch.image.tolist() == [0, 1, 2]


def test_where_the_box_alone_is_trained_captions_are_left_out() -> None:
    view = replace(VIEW, captions=False)
    for seed in range(10):
        sample = boxed(made.row(), np.random.default_rng(seed), words=_words(view))
        assert sample is not None and all(text.box != WHOLE for text in sample.texts)
    bare = made.row(made.annotation(objects=()))
    assert boxed(bare, np.random.default_rng(0), words=_words(view)) is None
