from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import FloatArray, Size
from stages import grounders
from stages.grounders import Grounded, Options
from stages.mdetr import grounder
from stages.mdetr.grounder import Mdetr
from tests.tiny import mdetr as tiny
from tests.tiny.records import record

SIZES: tuple[Size, ...] = (
    (40, 60),
    (60, 40),
    (41, 61),
    (500, 3),
    (3, 3),
    (900, 1400),
    (40, 60),
    (1, 1),
)
CAPTION = "A dog, a cat. Two 🐶 and the sky"
SPANS = ((0, 5), (7, 12), (14, 19), (24, 31))


def load(kind: str = "resnet", prompt: str = "caption", dtype: str = "float32") -> Mdetr:
    model = grounder.load(tiny.checkpoint(kind), "cpu", Options(dtype=dtype, prompt=prompt))
    return replace(model, short=64, long=106)


def close(one: Grounded, other: Grounded, scores: float = 1e-5) -> bool:
    assert one.scores is not None and other.scores is not None
    return np.allclose(one.boxes, other.boxes, atol=0.05) and np.allclose(
        one.scores, other.scores, atol=scores
    )


def expected(kind: str, image: Image.Image, ids: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Boxes as shares and probabilities, by the reference, for an image of 40 x 60 as 64 x 96."""
    small = np.asarray(image.resize((96, 64), Image.Resampling.BILINEAR), np.float64) / 255
    units = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    pixels = torch.from_numpy(units.astype(np.float32)).permute(2, 0, 1)
    with torch.inference_mode():
        boxes, chances = tiny.reference(kind)(pixels, list(ids))
    return boxes.numpy(), chances.numpy()


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_phrase_gets_the_probability_of_its_tokens(kind: str) -> None:
    model, image = load(kind), record().image
    ids = model.reader.tokenizer(CAPTION)["input_ids"]
    (found,) = model.ground([image], [(40, 60)], [CAPTION], [SPANS])
    boxes, chances = expected(kind, image, ids)
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    corners = np.concatenate([low, high], axis=1).clip(0, 1) * [60, 40, 60, 40]
    # <s> A " dog" , " " a " cat" .
    for one, part in zip(found, ([1, 2], [5, 6]), strict=False):
        assert one.boxes == pytest.approx(corners, abs=1e-3)
        assert one.scores == pytest.approx(chances[:, part].sum(axis=1), abs=1e-5)
    assert len(found) == len(SPANS)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_phrase_by_itself_gets_what_is_left_by_nothing(kind: str) -> None:
    model, image = load(kind, "phrase"), record().image
    (found,) = model.ground([image], [(40, 60)], ["a dog. a cat. "], [[(0, 5), (7, 12)]])
    for one, phrase in zip(found, ("a dog", "a cat"), strict=True):
        ids = model.reader.tokenizer(phrase)["input_ids"]
        assert one.scores == pytest.approx(1 - expected(kind, image, ids)[1][:, -1], abs=1e-5)


def test_several_captions_of_an_image_do_not_touch_each_other() -> None:
    model, image = load(), record().image
    captions = [CAPTION, "a cat", "the sky " * 30]
    spans = [SPANS, [(0, 5)], [(0, 7), (232, 239)]]
    together = model.ground([image] * 3, [(40, 60)] * 3, captions, spans)
    for caption, places, found in zip(captions, spans, together, strict=True):
        (alone,) = model.ground([image], [(40, 60)], [caption], [places])
        assert all(close(*pair) for pair in zip(found, alone, strict=True))
    assert all(len(one.boxes) == tiny.QUERIES for one in together[2]), "both ends are asked for"


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1066)),
        ((640, 480), (1066, 800)),
        ((427, 640), (800, 1199)),
        ((600, 1200), (666, 1332)),
        ((800, 800), (800, 800)),
        ((500, 2000), (333, 1332)),
    ],
)
def test_images_are_brought_to_the_published_size(size: Size, resized: Size) -> None:
    model = grounder.load(tiny.checkpoint("resnet"), "cpu", Options())
    assert model._size(Image.new("L", size[::-1])) == resized


def test_nothing_asked_is_nothing_found_and_low_scores_are_left_out() -> None:
    model, image = load(), record().image
    assert model.ground([], [], [], []) == []
    assert model.ground([image], [(40, 60)], ["a dog"], [[]]) == [[]]
    (found,) = model.ground([image], [(40, 60)], ["a  dog"], [[(1, 2)]])
    assert found[0].boxes.shape == (0, 4)
    (found,) = replace(model, least=2.0).ground([image], [(40, 60)], [CAPTION], [SPANS])
    assert [one.boxes.shape for one in found] == [(0, 4)] * 4
    (all_of_it,) = model.ground([image], [(40, 60)], [CAPTION], [SPANS])
    least = float(np.median(np.asarray(all_of_it[0].scores)))
    (some,) = replace(model, least=least).ground([image], [(40, 60)], [CAPTION], [SPANS])
    assert 0 < len(some[0].boxes) < tiny.QUERIES


def test_a_missing_file_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match=r"gone\.pth' does not exist"):
        grounders.load("gone.pth", "cpu")
