from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from grand_pipeline.columns import CAPTIONS, PHRASE_BOXES, PHRASES, Column
from grand_pipeline.types import Phrase
from stages import vlm
from stages.florence import Florence, placed_phrases
from stages.level2.phrase_grounding import PhraseGrounding
from stages.vlm import Locating, Writing
from tests.tiny.checkpoints import checkpoint
from tests.tiny.records import record
from tests.tiny.vlms import florence2


@pytest.fixture(scope="module")
def model() -> Florence:
    loaded = vlm.load(checkpoint(florence2), "cpu")
    assert isinstance(loaded, Florence) and isinstance(loaded, Locating)
    return loaded


@pytest.mark.parametrize(
    "prompt",
    [
        "<CAPTION>",
        "<REGION_TO_DESCRIPTION><loc_1><loc_2><loc_3><loc_4>",
        "a red cat",
        "<CAPTION_TO_PHRASE_GROUNDING>a {red} cat.",
    ],
)
def test_texts_are_those_of_the_model_s_own_processor(model: Florence, prompt: str) -> None:
    official = model.processor(images=record().image, text=prompt, return_tensors="pt")
    mine = model.processor.tokenizer(model._texts([prompt]), add_special_tokens=False)
    assert mine["input_ids"] == official["input_ids"].tolist()


def test_a_shared_image_is_written_about_as_the_model_s_own_way_would(model: Florence) -> None:
    one, two = (record(seed=n).image for n in range(2))
    prompts = ["<CAPTION>", "<REGION_TO_CATEGORY><loc_1><loc_2><loc_3><loc_4>", "<CAPTION>"]
    texts = model.ask([one, one, two], prompts, Writing(5))
    for image, prompt, text in zip([one, one, two], prompts, texts, strict=True):
        given = model.processor(images=image, text=prompt, return_tensors="pt")
        out = model.model.generate(**given, **Writing(5).options())
        assert text == model.processor.tokenizer.decode(out[0], skip_special_tokens=True)


def test_boxes_become_location_tokens(model: Florence) -> None:
    said = model.region_prompt("description", (0.0, 0.25, 0.5004, 1.0))
    assert said == "<REGION_TO_DESCRIPTION><loc_0><loc_250><loc_500><loc_999>"
    assert model.region_prompt("category", (-0.1, 0, 0, 7)).startswith(
        "<REGION_TO_CATEGORY><loc_0>"
    )


def test_boxes_go_to_the_phrases_they_speak_of() -> None:
    text = "a red cat and a dog. a red cat"
    spans = [(0, 9), (14, 19), (21, 30)]
    answer = (
        "a red cat<loc_0><loc_0><loc_499><loc_499><loc_500><loc_500><loc_999><loc_999>"
        "the moon<loc_1><loc_1><loc_2><loc_2>dog<loc_100><loc_200><loc_300><loc_400>"
        "red cat<loc_10><loc_10><loc_20><loc_20><loc_7>"
    )
    found = placed_phrases(answer, text, spans, (100, 200))
    assert [len(one.boxes) for one in found] == [2, 1, 1]
    assert all(one.scores is None for one in found)
    np.testing.assert_allclose(found[1].boxes, [[20.1, 20.05, 60.1, 40.05]], atol=1e-4)
    np.testing.assert_allclose(found[0].boxes[1], [100.1, 50.05, 199.9, 99.95], atol=1e-4)


@pytest.mark.parametrize("answer", ["", "</s>", "a cat", "<loc_1><loc_2>", "a cat<loc_5><loc_6>"])
def test_answers_without_boxes(answer: str) -> None:
    (found,) = placed_phrases(answer, "a cat", [(0, 5)], (10, 10))
    assert found.boxes.shape == (0, 4)


@dataclass(frozen=True)
class Saying(Florence):
    """Says the same whatever it is asked."""

    said: str = ""

    def _write(self, images: Sequence[Any], prompts: list[str], writing: Writing) -> list[str]:
        return [self.said] * len(images)


@pytest.mark.parametrize("prompt", ["phrase", "caption"])
def test_phrases_are_grounded_through_the_stage(prompt: Any) -> None:
    phrases = (Phrase("c", "a cat", "cat", 0, 5), Phrase("c", "a dog", "dog", 10, 15))
    values: dict[Column[Any], Any] = {CAPTIONS.of("c"): "a cat and a dog", PHRASES: phrases}
    stage = PhraseGrounding(source="s", model=checkpoint(florence2), prompt=prompt)
    loaded = stage.load("cpu")
    assert isinstance(loaded, Florence)
    said = "a cat<loc_0><loc_0><loc_499><loc_999>a dog<loc_500><loc_0><loc_999><loc_999>"
    model = Saying(loaded.model, loaded.processor, loaded.alone, said=said)
    (row,) = stage.annotate(model, [record((40, 60), values)])
    found = row[PHRASE_BOXES.of("s")]
    assert [box.text for box in found] == ["a cat", "a dog"]
    assert all(box.score is None for box in found)
    assert found[0].box == pytest.approx((0.03, 0.02, 29.97, 39.98))
