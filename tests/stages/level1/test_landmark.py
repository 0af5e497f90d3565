import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import LANDMARK
from stages.level1.landmark import CATEGORIES, LandmarkStage
from tests.tiny.checkpoints import checkpoint, clip
from tests.tiny.records import ODD_SIZES, record


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
    "rural": 0.9,
}


@pytest.mark.parametrize(
    ("joint", "expected"),
    [(False, ("Indoor scene", "Living space")), (True, ("Outdoor scene", "Rural"))],
)
def test_category_first_or_the_best_pair(joint: bool, expected: tuple[str, str]) -> None:
    stage = LandmarkStage(template="{}", fine_template="{}", joint=joint, model="tower")
    model: Any = FixedChances(CHANCES)
    (row,) = stage.annotate(model, [record()])
    found = row[LANDMARK]
    assert (found.category, found.fine_category, found.source) == (*expected, "tower")


def test_finer_category_is_one_of_its_category() -> None:
    stage = LandmarkStage(model=checkpoint(clip))
    model = stage.load("cpu")
    records = [record(size, seed=i) for i, size in enumerate(((40, 60), *ODD_SIZES))]
    for together, one in zip(stage.annotate(model, records), records, strict=True):
        assert together == stage.annotate(model, [one])[0]
        found = together[LANDMARK]
        assert found.fine_category in CATEGORIES[found.category]
