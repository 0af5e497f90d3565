from collections.abc import Sequence
from typing import Any

import pytest
import torch
from PIL.Image import Image
from torch import Tensor

from grand_pipeline.columns import ATTRIBUTES, INSTANCES
from grand_pipeline.types import Attribute
from stages.level1.attributes import Attributes
from tests.tiny.records import instance, record


class Sure:
    """A model that is `chance` sure of the second text, and remembers what it was given."""

    def __init__(self, chance: float) -> None:
        self.chance = chance
        self.asked: list[str] = []
        self.crops: list[tuple[int, int]] = []

    def images(self, images: Sequence[Image]) -> Tensor:
        self.crops += [image.size for image in images]
        return torch.zeros(len(images), 1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        self.asked = list(texts)
        return torch.zeros(len(texts), 1)

    def choice(self, images: Tensor, texts: Tensor) -> Tensor:
        rest = (1 - self.chance) / (len(texts) - 1)
        return torch.tensor([[self.chance if i == 1 else rest for i in range(len(texts))]])


OBJECTS = (
    instance(5, (0.0, 0.0, 20.0, 10.0), "umbrella"),
    instance(9, (0.0, 0.0, 60.0, 20.0), "sky", kind="stuff"),
    instance(3, (10.0, 10.0, 20.0, 30.0), "apple", kind=None),
)
COLUMN = ATTRIBUTES.of("s")


def annotate(stage: Attributes, model: Any) -> tuple[Attribute, ...]:
    (row,) = stage.annotate(model, [record(values={INSTANCES: OBJECTS})])
    found: tuple[Attribute, ...] = row[COLUMN]
    return found


def test_surest_word_of_every_thing() -> None:
    model = Sure(0.6)
    stage = Attributes(source="s", words=("red", "orange"), threshold=0.5)
    assert annotate(stage, model) == (Attribute(5, "s", "orange"), Attribute(3, "s", "orange"))
    assert model.asked == ["a photo of a red apple", "a photo of an orange apple"]
    assert model.crops == [(20, 10), (10, 20)]


def test_unsure_words_are_left_out_and_stuff_can_be_asked() -> None:
    stage = Attributes(source="s", words=("red", "orange", "blue"), threshold=0.7)
    assert annotate(stage, Sure(0.6)) == ()
    stage = Attributes(source="s", words=("red", "blue"), stuff=True, template="a {} thing")
    model = Sure(0.9)
    assert [a.object_id for a in annotate(stage, model)] == [5, 9, 3]
    assert model.asked == ["a red thing", "a blue thing"]


def test_words_inside_the_label_are_not_said_twice() -> None:
    stage = Attributes(source="s", words=("red", "orange"), template="a {} {}")
    model: Any = Sure(0.9)
    for label, text in (("orange_car", "a red car"), ("Orange", "a red object")):
        objects = (instance(1, (0.0, 0.0, 9.0, 9.0), label),)
        stage.annotate(model, [record(values={INSTANCES: objects})])
        assert model.asked[0] == text


@pytest.mark.parametrize("template", ["no place", "{} {} {}"])
def test_template_with_other_places_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="must hold"):
        Attributes(source="s", template=template)
