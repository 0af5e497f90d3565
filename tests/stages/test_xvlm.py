"""A trained X-VLM as a grounder: found by its folder, one box per phrase, nothing else promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from grand_pipeline.errors import SettingsError
from stages import grounders
from stages.grounders import Options
from stages.xvlm import Xvlm
from tests.tiny import words, xvlm
from training.models.xvlm import export
from training.models.xvlm.export import Trained

CAPTION = "a red cat and the blue car"
SPANS = ((0, 9), (14, 26))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("xvlm") / "model"
    export.save(place, Trained(xvlm.network(), words.bert_tokenizer(), 12))
    return str(place)


def _image(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
    return Image.fromarray(noise)


def test_its_folder_is_known_for_what_it_is(folder: str) -> None:
    assert isinstance(grounders.load(folder, "cpu"), Xvlm)


def test_every_phrase_has_the_box_that_the_model_gives(folder: str) -> None:
    first, second = _image(0), _image(1)
    found = grounders.load(folder, "cpu").ground(
        [first, second, first],
        [(40, 60), (40, 60), (80, 120)],
        [CAPTION, CAPTION, CAPTION],
        [SPANS, SPANS[:1], SPANS[1:]],
    )
    assert [len(some) for some in found] == [2, 1, 1]
    assert all(one.boxes.shape == (1, 4) and one.scores is None for some in found for one in some)
    # The same phrase in the same picture, counted in pixels of twice the size.
    np.testing.assert_allclose(found[2][0].boxes, 2 * found[0][1].boxes, rtol=1e-4)
    assert not np.allclose(found[0][0].boxes, found[1][0].boxes, atol=1e-3)
    alone = grounders.load(folder, "cpu").ground([second], [(40, 60)], [CAPTION], [SPANS[:1]])
    np.testing.assert_allclose(alone[0][0].boxes, found[1][0].boxes, rtol=1e-4)


def test_the_box_is_that_of_the_network(folder: str) -> None:
    trained = export.load(Path(folder))
    model = grounders.load(folder, "cpu")
    (found,) = model.ground([_image(0)], [(40, 60)], ["a cat"], [((0, 5),)])
    from training.models.xvlm import scores
    from training.models.xvlm.network import whole

    with torch.no_grad():
        seen = whole(scores.see(trained, [_image(0)]))
        cx, cy, w, h = trained.model.locate(
            trained.model.fuse(scores.read(trained, ["a cat"]), seen)
        )[0].tolist()
    expected = np.clip([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 0, 1) * [60, 40, 60, 40]
    np.testing.assert_allclose(found[0].boxes[0], expected, rtol=1e-4)


def test_what_it_can_not_follow_is_refused(folder: str) -> None:
    with pytest.raises(SettingsError, match="reads every phrase by itself"):
        grounders.load(folder, "cpu", Options(prompt="caption"))
    with pytest.raises(SettingsError, match="float32 alone"):
        grounders.load(folder, "cpu", Options(dtype="bfloat16"))
