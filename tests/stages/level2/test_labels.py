from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import ASSIGNED, INSTANCES
from grand_pipeline.types import Instance, Vote
from stages.level2.labels import Labels, candidates, support
from tests.tiny.records import instance, record

BOX = (0.0, 0.0, 20.0, 10.0)
TWO = instance(
    3, BOX, "cat", Vote("a", "cat", 0.2), Vote("b", "hot_dog", 0.9), Vote("c", "cat", None)
)
ONE = instance(1, BOX, "dog", Vote("a", "dog", 0.5), Vote("b", "Dog", 0.4))
NONE = Instance(0, "floating", None, BOX, None, "red car")


class Even:
    """A model to which every text is equally likely; remembers the texts."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def images(self, images: Sequence[Any]) -> Tensor:
        return torch.zeros(len(images), 1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(list(texts))
        return torch.zeros(len(texts), 1)

    def choice(self, images: Tensor, texts: Tensor) -> Tensor:
        return torch.full((1, len(texts)), 1 / len(texts))


def test_only_objects_with_several_candidates_are_asked() -> None:
    model: Any = Even()
    (row,) = Labels().annotate(model, [record(values={INSTANCES: (TWO, ONE, NONE)})])
    assert model.asked == [["a photo of a cat", "a photo of a hot dog"]]
    found = row[ASSIGNED]
    assert [(a.object_id, a.label) for a in found] == [(3, "cat"), (1, "dog"), (0, "red car")]
    assert [a.score for a in found] == pytest.approx([0.5, 1.0, 1.0])


def test_votes_can_weigh() -> None:
    model: Any = Even()
    (row,) = Labels(vote_weight=1.0).annotate(model, [record(values={INSTANCES: (TWO,)})])
    assert row[ASSIGNED][0].score == pytest.approx(1.2 / 2.1)


def test_candidates_are_distinct_votes_in_order() -> None:
    assert candidates(TWO) == ("cat", "hot dog")
    assert candidates(NONE) == ("red car",)
    assert support(TWO, "cat") == pytest.approx(1.2)
