from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import ASSIGNED, INSTANCES
from grand_pipeline.types import Instance, Vote
from stages.hub import Dtype
from stages.level2.labels import Labels, candidates, support
from tests.tiny.checkpoints import Builder, checkpoint, clip, siglip
from tests.tiny.records import ODD_SIZES, instance, record
from tests.tiny.towers import siglip2, siglip2_naflex

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


@pytest.mark.parametrize("build", [clip, siglip, siglip2, siglip2_naflex])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_real_model_labels_every_object_alike_in_and_out_of_a_batch(
    build: Builder, dtype: Dtype
) -> None:
    stage = Labels(model=checkpoint(build), dtype=dtype)
    model = stage.load("cpu")
    records = [
        record(size, {INSTANCES: (TWO, ONE)}, seed=i)
        for i, size in enumerate(((40, 60), *ODD_SIZES))
    ]
    empty = record(values={INSTANCES: ()})
    rows = stage.annotate(model, [*records, empty])
    assert rows[-1][ASSIGNED] == ()
    for row, one in zip(rows, records, strict=False):
        (alone,) = stage.annotate(model, [one])
        assert [a.label for a in row[ASSIGNED]] == [a.label for a in alone[ASSIGNED]]
        assert row[ASSIGNED][0].label in candidates(TWO) and row[ASSIGNED][1].score == 1.0
        assert 0 < row[ASSIGNED][0].score <= 1
