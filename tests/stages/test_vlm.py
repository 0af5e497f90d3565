from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from grand_pipeline.errors import SettingsError
from stages import vlm
from stages.chat import Answer
from stages.vlm import BACKENDS, Choosing, Locating, Question, Writing
from tests.tiny import vlms
from tests.tiny.checkpoints import Builder, blip, checkpoint, clip, llava
from tests.tiny.records import record

BUILDS: tuple[Builder, ...] = (
    blip,
    llava,
    vlms.blip2,
    vlms.florence2,
    vlms.kosmos2,
    vlms.qwen2_5_vl,
    vlms.qwen3_vl,
)


@dataclass
class Small:
    """A model for which more than `room` images are too many; remembers how many it was given."""

    room: int
    answers: bool = True
    given: list[int] = field(default_factory=list)

    def ask(
        self, images: Sequence[Any], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        self.given.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("full")
        return [f"{image.width} {prompt}" for image, prompt in zip(images, prompts, strict=True)]


def questions(count: int) -> list[Question]:
    return [
        Question(lambda n=n: Image.new("RGB", (n + 1, 1)), str(n))  # type: ignore[misc]  # default
        for n in range(count)
    ]


EXPECTED = [Answer(f"{n + 1} {n}", "stop") for n in range(11)]


def test_questions_are_asked_so_many_at_a_time_or_fewer_where_memory_is_full() -> None:
    model = Small(3)
    assert vlm.ask_all(model, questions(11), Writing(), 4) == EXPECTED
    assert model.given == [4, 2, 2, 2, 2, 2, 1]
    assert vlm.ask_all(model, [], Writing(), 4) == []


@pytest.mark.parametrize("build", BUILDS)
def test_an_image_and_its_prompt_belong_together(build: Builder) -> None:
    model = vlm.load(checkpoint(build), "cpu")
    images = [record((30 + 7 * n, 50), seed=n).image for n in range(8)]
    images[5] = images[2]
    prompts = ["a red cat", None, "two", "the green tree of people", None, "a dog", "a", "sky"]
    together = model.ask(images, prompts, Writing(5))
    alone = [
        model.ask([image], [prompt], Writing(5))[0]
        for image, prompt in zip(images, prompts, strict=True)
    ]
    assert together == alone


def test_every_backend_has_a_tiny_checkpoint_and_says_what_it_can() -> None:
    loaded = {type(m).__name__: m for m in (vlm.load(checkpoint(b), "cpu") for b in BUILDS)}
    kinds = {vlm.hub.preprocessor("AutoConfig", checkpoint(b)).model_type for b in BUILDS}
    assert kinds == set(BACKENDS)
    assert {n for n, m in loaded.items() if isinstance(m, Locating)} == {"Florence", "Kosmos"}
    assert {n for n, m in loaded.items() if isinstance(m, Choosing)} == {"ChatVlm"}
    assert {n for n, m in loaded.items() if m.answers} == {"ChatVlm"}


def test_a_checkpoint_of_another_kind_is_refused() -> None:
    assert vlm.is_vlm(checkpoint(blip)) and not vlm.is_vlm(checkpoint(clip))
    assert not vlm.is_vlm("open_clip:nobody/nothing")
    with pytest.raises(SettingsError, match=r"of the architecture 'clip'.*Available: blip, blip-2"):
        vlm.load(checkpoint(clip), "cpu")


def test_a_checkpoint_s_habit_of_sampling_is_forgotten(tmp_path: Path) -> None:
    model, processor = vlms.qwen3_vl()
    model.generation_config.update(do_sample=True, temperature=5.0, top_p=0.5, top_k=7)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = vlm.load(str(tmp_path), "cpu")
    images = [record().image]
    assert len({loaded.ask(images, [None], Writing(8))[0] for _ in range(5)}) == 1


def test_images_that_come_twice() -> None:
    one, two = (Image.new("RGB", (2, 2)) for _ in range(2))
    assert vlm.distinct([one, two, one]) == ([one, two], [0, 1, 0])
    assert vlm.distinct([]) == ([], [])
