from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image

from grand_pipeline.columns import ATTRIBUTES, INSTANCES
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.types import Attribute, Box, Instance
from stages import vlm
from stages.level1.region_texts import RegionTexts
from stages.vlm import Task, Writing
from tests.attacks import ATTACKS
from tests.tiny.checkpoints import Builder, blip, checkpoint, llava
from tests.tiny.records import ODD_SIZES, instance, record
from tests.tiny.vlms import florence2, kosmos2, qwen2_5_vl, qwen3_vl

COLUMN = ATTRIBUTES.of("s")
OBJECTS = (
    instance(5, (0.0, 0.0, 20.0, 10.0), "big_umbrella"),
    instance(9, (0.0, 0.0, 60.0, 20.0), "sky", kind="stuff"),
    Instance(3, "floating", None, (10.0, 10.0, 13.0, 14.0), 0.5, "apple"),
)


@dataclass
class Talker:
    """Says what it was asked, and remembers what it was shown."""

    answers: bool = True
    shown: list[Image] = field(default_factory=list)
    given: list[int] = field(default_factory=list)

    def ask(
        self, images: Sequence[Image], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        self.shown += images
        self.given.append(len(images))
        return [f" {prompt}  " if prompt else "" for prompt in prompts]


@dataclass
class Locator(Talker):
    """Reads boxes."""

    answers: bool = False

    def region_prompt(self, task: Task, box: Box) -> str:
        return f"{task} {' '.join(f'{side:.2f}' for side in box)}"


def annotate(stage: RegionTexts, model: Any, *records: Record) -> list[tuple[Attribute, ...]]:
    rows = stage.annotate(model, records or [record(values={INSTANCES: OBJECTS})])
    return [row[COLUMN] for row in rows]


def test_a_chat_model_sees_crops_and_is_asked_by_the_label() -> None:
    model = Talker()
    (found,) = annotate(RegionTexts(source="s", margin=0.0), model)
    assert found == (
        Attribute(5, "s", "Describe the big umbrella in this picture in a few words."),
        Attribute(3, "s", "Describe the apple in this picture in a few words."),
    )
    assert [image.size for image in model.shown] == [(20, 10), (3, 4)]


def test_a_marked_object_stands_in_the_whole_image() -> None:
    model, whole = Talker(), record(values={INSTANCES: OBJECTS})
    (found,) = annotate(RegionTexts(source="s", view="mark", prompt="what?"), model, whole)
    assert [one.text for one in found] == ["what?", "what?"]
    pixels, plain = np.asarray(model.shown[0]), np.asarray(whole.image)
    assert pixels.shape == plain.shape
    assert (pixels[0, :20] == (255, 0, 0)).all() and (pixels[9, :20] == (255, 0, 0)).all()
    assert (pixels[2:8, 2:18] == plain[2:8, 2:18]).all(), "what is inside stays visible"
    assert (pixels[10:] == plain[10:]).all(), "the box is half-open"


def test_a_model_that_reads_boxes_gets_shares_of_the_image() -> None:
    model, whole = Locator(), record(values={INSTANCES: OBJECTS})
    (found,) = annotate(RegionTexts(source="s", task="category"), model, whole)
    assert found[0].text == "category 0.00 0.00 0.33 0.25"
    assert all(image is whole.image for image in model.shown), "so it can encode it once"


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({}, [5, 3]),
        ({"stuff": True}, [5, 9, 3]),
        ({"floating": False}, [5]),
        ({"least_area": 0.02}, [5]),
        ({"least_area": 0.9}, []),
    ],
)
def test_objects_that_are_asked_about(options: Any, ids: list[int]) -> None:
    (found,) = annotate(RegionTexts(source="s", **options), Talker())
    assert [one.object_id for one in found] == ids


def test_objects_of_all_images_go_together_up_to_a_bound_and_silence_is_no_text() -> None:
    records = [record(values={INSTANCES: OBJECTS}, seed=n) for n in range(3)]
    model = Talker()
    annotate(RegionTexts(source="s", at_once=4), model, *records)
    assert model.given == [4, 2]
    # A captioner is shown the crop and asked nothing; this one has nothing to say.
    assert annotate(RegionTexts(source="s"), Talker(answers=False), *records) == [()] * 3
    assert annotate(RegionTexts(source="s"), model, record(values={INSTANCES: ()})) == [()]


def test_options_that_do_not_fit_the_model() -> None:
    with pytest.raises(SettingsError, match="has no location tokens"):
        RegionTexts(source="s", model=checkpoint(llava), view="box").load("cpu")
    with pytest.raises(SettingsError, match="'prompt' is for the views"):
        RegionTexts(source="s", model=checkpoint(florence2), prompt="what?").load("cpu")
    with pytest.raises(SettingsError, match="it has: description"):
        RegionTexts(source="s", model=checkpoint(kosmos2), task="category").load("cpu")
    with pytest.raises(ValueError, match="more than once"):
        RegionTexts(source="s", prompt="{} {}")


@pytest.mark.parametrize("build", [florence2, kosmos2, llava, blip, qwen2_5_vl, qwen3_vl])
@pytest.mark.parametrize("view", ["auto", "mark"])
def test_real_models_on_images_of_any_size(build: Builder, view: Any) -> None:
    stage = RegionTexts(
        source="s", model=checkpoint(build), view=view, max_new_tokens=4, max_pixels=1024
    )
    model = stage.load("cpu")
    records = [
        record(size, {INSTANCES: (instance(1, (0.0, 0.0, float(size[1]), float(size[0]))),)}, n)
        for n, size in enumerate(((40, 60), (700, 900), *ODD_SIZES))
    ]
    empty = record(values={INSTANCES: ()})
    rows = annotate(stage, model, empty, *records)
    assert rows[0] == ()
    assert rows[1:] == [annotate(stage, model, one)[0] for one in records]
    assert any(rows)


@pytest.mark.parametrize("build", [llava, qwen2_5_vl])
@pytest.mark.parametrize("attack", ["image", "chatml", "llama2", "long", "surrogates", "plea"])
def test_a_real_model_is_asked_about_any_label(build: Builder, attack: str) -> None:
    """A mark of an image inside a label would be one image too many."""
    stage = RegionTexts(
        source="s", model=checkpoint(build), prompt="the {}", view="crop", max_new_tokens=2
    )
    model = vlm.load(stage.model, "cpu")
    label = ATTACKS[attack][:200]
    (found,) = annotate(
        stage, model, record(values={INSTANCES: (instance(5, (0.0, 0.0, 20.0, 10.0), label),)})
    )
    assert len(found) <= 1
