from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from grand_pipeline.columns import CAPTIONS, PHRASE_BOXES, PHRASES, Column
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Phrase
from stages import vlm
from stages.kosmos import Kosmos, placed_boxes
from stages.level2.phrase_grounding import PhraseGrounding
from stages.vlm import Locating, Writing
from tests.tiny.checkpoints import checkpoint
from tests.tiny.records import record
from tests.tiny.vlms import QUERIES, kosmos2


@pytest.fixture(scope="module")
def model() -> Kosmos:
    loaded = vlm.load(checkpoint(kosmos2), "cpu")
    assert isinstance(loaded, Kosmos) and isinstance(loaded, Locating)
    return loaded


def test_what_is_written_is_what_the_model_s_own_way_writes(model: Kosmos) -> None:
    one, two = (record(seed=n).image for n in range(2))
    prompts = ["<grounding>An image of", "<grounding><phrase> a cat</phrase>", "a dog and"]
    texts = model._write([one, one, two], prompts, Writing(5))
    for image, prompt, text in zip([one, one, two], prompts, texts, strict=True):
        given = model.processor(
            images=image, text=prompt, num_image_tokens=QUERIES, return_tensors="pt"
        )
        assert model._ids([prompt]) == given["input_ids"].tolist()
        out = model.model.generate(**given, **Writing(5).options())
        new = out[0, given["input_ids"].shape[1] :]
        assert text == model.processor.tokenizer.decode(new, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("box", "first", "last"),
    [
        ((0.0, 0.0, 1.0, 1.0), 0, 15),
        ((0.25, 0.5, 0.5, 0.75), 9, 9),
        ((0.3, 0.3, 0.3, 0.3), 5, 5),
        ((1.0, 1.0, 1.0, 1.0), 15, 15),
        ((-1.0, 0.1, 0.6, 0.3), 0, 6),
    ],
)
def test_boxes_become_the_patches_they_touch(
    model: Kosmos, box: tuple[float, float, float, float], first: int, last: int
) -> None:
    place = f"<object><patch_index_{first:04d}><patch_index_{last:04d}></object>"
    assert model.region_prompt("description", box) == f"<grounding><phrase> It</phrase>{place} is"


def test_a_task_that_it_does_not_know_is_refused(model: Kosmos) -> None:
    with pytest.raises(SettingsError, match="it has: description"):
        model.region_prompt("category", (0, 0, 1, 1))


def test_patches_become_boxes() -> None:
    one = "<object><patch_index_0000><patch_index_0010></object>"
    np.testing.assert_allclose(placed_boxes(one, 4, (40, 80)), [[10, 5, 50, 25]])
    column = "<object> <patch_index_0001> <patch_index_0009> </object> and more"
    np.testing.assert_allclose(placed_boxes(column, 4, (40, 80)), [[20, 0, 40, 30]])
    two = (
        "<object><patch_index_0000><patch_index_0000></delimiter_of_multi_objects/>"
        "<patch_index_0005><patch_index_0005></object>"
    )
    assert placed_boxes(two, 4, (40, 80)).shape == (2, 4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "is red",
        "<object></object>",
        "<object><patch_index_0001></object>",
        "<object><patch_index_0001><patch_index_0002>",
        "a<object><patch_index_0><patch_index_1></object>",
        "<object><patch_index_0001><patch_index_9999></object>",
    ],
)
def test_texts_without_boxes(text: str) -> None:
    assert placed_boxes(text, 4, (40, 80)).shape == (0, 4)


@dataclass(frozen=True)
class Saying(Kosmos):
    """Says what it is told to, and notes what it is asked."""

    said: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def _write(self, images: Sequence[Any], prompts: list[str], writing: Writing) -> list[str]:
        self.asked.extend(prompts)
        return list(self.said)


def test_marks_and_places_are_no_part_of_a_text() -> None:
    said = "a<phrase> red cat</phrase><object><patch_index_0000><patch_index_0010></object> on"
    model = Saying(None, None, said=(f"{said} <phrase> it</phrase><object><patch",))
    assert model.ask([], [], Writing()) == ["a red cat on it"]


@pytest.mark.parametrize("prompt", ["phrase", "caption"])
def test_phrases_are_grounded_through_the_stage(prompt: Any) -> None:
    phrases = (Phrase("c", "a cat", "cat", 0, 5), Phrase("c", "a dog", "dog", 10, 15))
    values: dict[Column[Any], Any] = {CAPTIONS.of("c"): "a cat and a dog", PHRASES: phrases}
    stage = PhraseGrounding(source="s", model=checkpoint(kosmos2), prompt=prompt)
    said = ("<object><patch_index_0000><patch_index_0015></object>", " and nothing")
    loaded = stage.load("cpu")
    assert isinstance(loaded, Kosmos)
    model = Saying(loaded.model, loaded.processor, loaded.alone, said=said)
    (row,) = stage.annotate(model, [record((40, 60), values)])
    found = row[PHRASE_BOXES.of("s")]
    assert [(box.text, box.score) for box in found] == [("a cat", None)]
    assert found[0].box == pytest.approx((7.5, 5.0, 52.5, 35.0))
    before = " a cat and" if prompt == "caption" else ""
    assert model.asked[1] == f"<grounding>{before}<phrase> a dog</phrase>"
