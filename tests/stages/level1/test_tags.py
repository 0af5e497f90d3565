from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import TAGS
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import FloatArray
from stages.level1.tags import Tags
from stages.ram import Tagger
from stages.ram_layout import Design
from tests.tiny import ram
from tests.tiny.checkpoints import Builder, checkpoint, clip, siglip
from tests.tiny.records import record
from tests.tiny.towers import siglip2, siglip2_naflex

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


@dataclass(frozen=True)
class FixedChances(Tagger):
    """A tagger that gives the same probabilities to every image."""

    values: tuple[float, ...] = ()

    def chances(self, images: Sequence[Any]) -> FloatArray:
        return np.tile(np.array(self.values, np.float32), (len(images), 1))


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


def test_words_can_have_thresholds_of_their_own() -> None:
    stage = Tags(source="s", vocabulary=WORDS, thresholds=(0.6, 0.001, 0.5))
    assert names(stage, FixedLogits((0.1, -5.0, 2.0), sigmoid=True)) == ["umbrella", "dog"]
    first = Tags(source="s", vocabulary=WORDS, thresholds=(0.6, 0.001, 0.5), top_k=1)
    assert names(first, FixedLogits((-1.0, -5.0, -2.0), sigmoid=True)) == ["dog"]
    assert names(stage, FixedLogits((0.0, -0.6, -3.0), sigmoid=False)) == ["cat", "dog"]


def test_a_word_that_stands_twice_is_one_word() -> None:
    twice = ("cat", "dog", "Cat", "umbrella")
    model = FixedLogits((0.0, -0.6, -3.0), sigmoid=False)
    stage = Tags(source="s", vocabulary=twice, thresholds=(0.5, 0.5, 0.0, 0.0))
    assert names(stage, model) == ["cat", "dog", "umbrella"]


def test_a_tagger_gives_what_is_above_its_thresholds() -> None:
    words = ("cat", "train", "zoo", "train")
    design = Design("ram", len(words), 8, (1,), (1,), 4, 2, 8, 8, 8)
    model = FixedChances(design, None, {}, "cpu", values=(0.7, 0.8, 1.0, 0.9))
    (row,) = Tags(source="s", vocabulary=words, thresholds=(0.7, 0.5, 1.0, 0.5)).annotate(
        model, [record()]
    )
    # 0.7 is not above 0.7, a tag with threshold 1 is never given, and of two the better counts.
    assert [(tag.name, tag.score) for tag in row[TAGS.of("s")]] == [("train", pytest.approx(0.9))]
    flat = Tags(source="s", vocabulary=words, threshold=0.65)
    assert names(flat, model) == ["zoo", "train", "cat"]
    assert names(Tags(source="s", vocabulary=words, threshold=1.0), model) == []


def test_a_tagger_needs_its_own_list() -> None:
    stage = Tags(source="s", vocabulary=ram.TAGS[:-1], model=ram.checkpoint("ram_plus"))
    with pytest.raises(SettingsError, match=r"'tags\.s': the vocabulary has 5 words, .* 6 tags"):
        stage.load("cpu")


@pytest.mark.parametrize("build", [clip, siglip, siglip2, siglip2_naflex])
def test_thousands_of_words_are_scored(build: Builder) -> None:
    words = tuple(f"word {n // 26} {chr(97 + n % 26)}" for n in range(5_000))
    stage = Tags(
        source="s", vocabulary=words, model=checkpoint(build), threshold=0.0, top_k=len(words)
    )
    model = stage.load("cpu")
    few = record(), record((3, 2000), seed=1)
    for row in stage.annotate(model, few):
        assert len(row[TAGS.of("s")]) == len(words)
    short = Tags(source="s", vocabulary=words[:10], model=checkpoint(build), threshold=0.0)
    for long_row, short_row in zip(
        stage.annotate(model, few), short.annotate(short.load("cpu"), few), strict=True
    ):
        found = {tag.name: tag.score for tag in long_row[TAGS.of("s")]}
        for tag in short_row[TAGS.of("s")]:
            if build is not clip:  # whose words compete with all the others
                assert found[tag.name] == pytest.approx(tag.score, abs=1e-5)


def test_thresholds_have_to_be_as_many_as_words() -> None:
    with pytest.raises(ValueError, match=r"2 numbers for the 3 words"):
        Tags(source="s", vocabulary=WORDS, thresholds=(0.5, 0.5))


def test_empty_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        Tags(source="s", vocabulary=())
