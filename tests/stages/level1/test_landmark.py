import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import prompts
from grand_pipeline.columns import LANDMARK
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Landmark
from stages.level1.landmark import CATEGORIES, LandmarkStage
from stages.vlm import Writing
from tests.tiny.checkpoints import Builder, blip, checkpoint, clip, llava
from tests.tiny.records import ODD_SIZES, record
from tests.tiny.vlms import florence2


class FixedChances:
    """A model whose logits are the logarithms of given chances, by text."""

    def __init__(self, chances: dict[str, float]) -> None:
        self.chances = chances

    def images(self, images: Sequence[Any]) -> Tensor:
        return torch.zeros(len(images), 1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([math.log(self.chances.get(text, 1e-6)) for text in texts])

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        return texts.expand(len(images), -1)


CHANCES = {
    "indoor scene": 0.45,
    "living space": 0.3,
    "work space": 0.25,
    "public space": 0.25,
    "outdoor scene": 0.4,
    "rural landscape": 0.9,
}


@pytest.mark.parametrize(
    ("joint", "expected"),
    [(False, ("Indoor scene", "Living space")), (True, ("Outdoor scene", "Rural landscape"))],
)
def test_category_first_or_the_best_pair(joint: bool, expected: tuple[str, str]) -> None:
    stage = LandmarkStage(template="{}", fine_template="{}", joint=joint, model="tower")
    model: Any = FixedChances(CHANCES)
    (row,) = stage.annotate(model, [record()])
    found = row[LANDMARK]
    assert (found.category, found.fine_category, found.source) == (*expected, "tower")


def test_categories_are_those_of_the_options() -> None:
    mine = (("Indoor scene", ("Work space",)), ("Outdoor scene", ("Rural landscape", "Field")))
    stage = LandmarkStage(template="{}", fine_template="{}", model="tower", categories=mine)
    model: Any = FixedChances({"indoor scene": 0.2, "outdoor scene": 0.6, "field": 0.9})
    (row,) = stage.annotate(model, [record()])
    assert row[LANDMARK] == Landmark("Outdoor scene", "Field", "tower")
    assert CATEGORIES["Outdoor scene"][:2] == ("Urban landscape", "Rural landscape")


@pytest.mark.parametrize("wrong", [(), (("A", ()),), (("A", ("b",)), ("A", ("c",)))])
def test_categories_that_can_not_be_chosen_among_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="categories"):
        LandmarkStage(model="tower", categories=wrong)


def test_finer_category_is_one_of_its_category() -> None:
    stage = LandmarkStage(model=checkpoint(clip))
    model = stage.load("cpu")
    records = [record(size, seed=i) for i, size in enumerate(((40, 60), *ODD_SIZES))]
    for together, one in zip(stage.annotate(model, records), records, strict=True):
        assert together == stage.annotate(model, [one])[0]
        found = together[LANDMARK]
        assert found.fine_category in CATEGORIES[found.category]


@dataclass
class Respondent:
    """A chat model with prepared answers, which finds the last letter likeliest."""

    said: list[str]
    asked: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    answers: bool = True

    def ask(
        self, images: Sequence[Any], prompts: Sequence[str | None], writing: Writing
    ) -> list[str]:
        self.asked += [str(prompt) for prompt in prompts]
        return [self.said.pop(0) for _ in images]

    def likeliest(
        self, images: Sequence[Any], prompts: Sequence[str], words: Sequence[Sequence[str]]
    ) -> list[int]:
        self.unsure += prompts
        return [len(some) - 1 for some in words]


def answered(*said: str) -> tuple[list[Landmark], Respondent]:
    stage, model = LandmarkStage(model="chat"), Respondent(list(said))
    records = [record(seed=n) for n in range(len(said) // 2)]
    return [row[LANDMARK] for row in stage.annotate(model, records)], model


def test_the_second_question_follows_from_the_first_answer() -> None:
    found, model = answered("B", "Transportation scene", "(C)", "A. Road")
    assert found == [
        Landmark("Outdoor scene", "Natural landscape", "chat"),
        Landmark("Transportation scene", "Road", "chat"),
    ]
    assert "A. Indoor scene\nB. Outdoor scene\nC. Transportation scene\nD. " in model.asked[0]
    assert "C. Natural landscape\n" in model.asked[2] and "D. " not in model.asked[2]
    assert "D. Port and harbor\n" in model.asked[3]
    assert model.unsure == []


def test_an_unreadable_answer_is_quoted_and_the_likeliest_letter_taken() -> None:
    found, model = answered("a garden,\nperhaps", "A", "X" * 200, "B")
    assert found[0].category == "Sports and recreation scene"
    assert found[0].fine_category == "Gym and fitness center"
    assert found[0].source == (
        'chat; likeliest letter, unreadable answer "a garden, perhaps"; '
        f'likeliest letter, unreadable answer "{"X" * 80}"'
    )
    assert found[1] == Landmark("Indoor scene", "Work space", "chat")
    assert model.unsure == [model.asked[0], model.asked[2]]


@pytest.mark.parametrize("build", [blip, florence2])
def test_a_model_that_answers_no_questions_is_refused(build: Builder) -> None:
    with pytest.raises(SettingsError, match="answers no questions"):
        LandmarkStage(model=checkpoint(build)).load("cpu")


def test_a_question_of_several_turns_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "landmark" / "mine"
    place.mkdir(parents=True)
    for name, text in (("system", "Be kind."), ("user", "{options}")):
        (place / f"{name}.txt").write_text(text)
    (place / "examples.toml").write_text("")
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    with pytest.raises(SettingsError, match="in one turn"):
        LandmarkStage(model=checkpoint(llava), prompt="landmark/mine").load("cpu")
