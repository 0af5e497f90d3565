from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import ASSIGNED, INSTANCES
from grand_pipeline.types import AssignedLabel, Instance, Vote
from stages.level2.grand_v1_labels import GrandV1Labels
from tests.tiny.records import instance, record

BOX = (0.0, 0.0, 20.0, 10.0)


class LikesLong:
    """A model to which the longest text is the likeliest; remembers the texts."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def images(self, images: Sequence[Any]) -> Tensor:
        return torch.zeros(len(images), 1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(list(texts))
        return torch.tensor([[float(len(text))] for text in texts])

    def choice(self, images: Tensor, texts: Tensor) -> Tensor:
        return (texts.max() == texts.T).float()


def assigned(*instances: Instance, **options: Any) -> tuple[list[list[str]], list[AssignedLabel]]:
    model: Any = LikesLong()
    (row,) = GrandV1Labels(**options).annotate(model, [record(values={INSTANCES: instances})])
    return model.asked, list(row[ASSIGNED])


def test_the_model_chooses_among_labels_as_the_detectors_spelt_them() -> None:
    votes = Vote("a", "dog", 0.5), Vote("b", "hot_dog", 0.5), Vote("c", "dog", 0.5)
    asked, found = assigned(instance(3, BOX, "dog", *votes))
    assert asked == [["dog", "hot_dog"]]
    assert found == [AssignedLabel(3, "hot_dog", 1.0)]


def test_a_single_label_is_not_asked() -> None:
    votes = Vote("a", "dog", 0.5), Vote("grit", "a dog that runs on grass", 0.5)
    assert assigned(instance(0, BOX, "dog", *votes)) == ([], [AssignedLabel(0, "dog", 1.0)])


def test_man_and_woman_are_one_label() -> None:
    votes = Vote("a", "man", 0.5), Vote("b", "Woman", 0.5)
    assert assigned(instance(0, BOX, "man", *votes)) == ([], [AssignedLabel(0, "person", 1.0)])


@pytest.mark.parametrize(("defects", "label"), [((), "person"), (("D13",), "boys")])
def test_d13_words_for_people_stay_where_the_object_floats(defects: Any, label: str) -> None:
    floating = Instance(0, "floating", None, BOX, None, "boys", (Vote("a", "boys", 0.5),))
    assert assigned(floating, defects=defects)[1] == [AssignedLabel(0, label, 1.0)]


def test_d13_several_people_are_persons() -> None:
    voted = instance(0, BOX, "boys", Vote("a", "boys", 0.5))
    assert assigned(voted, defects=("D13",))[1][0].label == "persons"


def test_a_caption_born_object_keeps_its_phrase() -> None:
    born = Instance(0, "floating", None, BOX, None, "a red car", (Vote("m", "a red car", None),))
    assert assigned(born)[1] == [AssignedLabel(0, "a red car", 1.0)]


def test_the_template_takes_one_label() -> None:
    with pytest.raises(ValueError, match="template"):
        GrandV1Labels(template="a dog")
