from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import TAGS
from stages.level1.tags import Tags
from tests.tiny.checkpoints import Builder, checkpoint, clip, siglip
from tests.tiny.records import ODD_SIZES, record

WORDS = ("cat", "dog", "umbrella")


@dataclass(frozen=True)
class FixedLogits:
    """A two-tower model that gives the same logits to every image."""

    values: tuple[float, ...]
    sigmoid: bool

    def images(self, images: Sequence[Any]) -> Tensor:
        return torch.zeros(len(images), 1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        return torch.zeros(len(texts), 1)

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        assert len(texts) == len(self.values)
        return torch.tensor(self.values).expand(len(images), -1)


def names(stage: Tags, model: Any) -> list[str]:
    (row,) = stage.annotate(model, [record()])
    return [tag.name for tag in row[TAGS.of("s")]]


def test_sigmoid_tags_are_judged_one_by_one() -> None:
    model = FixedLogits((0.1, -5.0, 2.0), sigmoid=True)
    stage = Tags(source="s", vocabulary=WORDS, threshold=0.5)
    assert names(stage, model) == ["umbrella", "cat"]
    assert names(Tags(source="s", vocabulary=WORDS, threshold=0.5, top_k=1), model) == ["umbrella"]
    assert names(Tags(source="s", vocabulary=WORDS, threshold=0.9), model) == []


def test_softmax_tags_are_judged_against_the_best() -> None:
    model = FixedLogits((0.0, -0.6, -3.0), sigmoid=False)
    assert names(Tags(source="s", vocabulary=WORDS, threshold=0.5), model) == ["cat", "dog"]
    assert names(Tags(source="s", vocabulary=WORDS, threshold=1.0), model) == ["cat"]


@pytest.mark.parametrize("build", [clip, siglip])
def test_real_models_score_images_of_any_size_alike_in_and_out_of_a_batch(build: Builder) -> None:
    stage = Tags(source="s", vocabulary=WORDS, model=checkpoint(build), threshold=0.0)
    model = stage.load("cpu")
    records = [record(size, seed=i) for i, size in enumerate(((40, 60), *ODD_SIZES))]
    for together, one in zip(stage.annotate(model, records), records, strict=True):
        (alone,) = stage.annotate(model, [one])
        column = TAGS.of("s")
        assert sorted(tag.name for tag in together[column]) == sorted(WORDS)
        assert [t.score for t in together[column]] == pytest.approx(
            [t.score for t in alone[column]], abs=1e-5
        )
        assert all(tag.source == "s" for tag in together[column])


def test_empty_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        Tags(source="s", vocabulary=())
