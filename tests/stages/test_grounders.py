from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Size
from stages import grounders
from stages.detector import Scored
from stages.grounders import ByPhrase, Options
from stages.grounding_dino import GroundingDino
from tests.tiny.checkpoints import Builder, checkpoint, clip, owl_vit, owlv2
from tests.tiny.detectors import grounding_dino, mm_grounding_dino

KINDS = [
    (owl_vit, ByPhrase),
    (owlv2, ByPhrase),
    (grounding_dino, GroundingDino),
    (mm_grounding_dino, GroundingDino),
]


class Lengths:
    """A detector that finds one box, and scores a text by its length."""

    def remember(self, queries: Iterable[str]) -> None:
        pass

    def score(
        self, images: Sequence[Any], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        box = np.array([[0, 0, 1, 1]], np.float32)
        scores = [np.array([[len(text) / 100 for text in asked]], np.float32) for asked in queries]
        return [Scored(box, found) for found in scores]


@pytest.mark.parametrize(("build", "kind"), KINDS)
def test_the_architecture_decides_what_loads_a_checkpoint(build: Builder, kind: type) -> None:
    model = grounders.load(checkpoint(build), "cpu")
    assert type(model) is kind
    if isinstance(model, GroundingDino):
        assert model.token_score == "mean"


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="phrase grounder: it is of the architecture 'clip'"):
        grounders.load(checkpoint(clip), "cpu")
    with pytest.raises(SettingsError, match="can not see its caption"):
        grounders.load(checkpoint(owl_vit), "cpu", Options(prompt="caption"))


def test_a_detector_is_asked_for_the_phrases_alone() -> None:
    image: Any = object()
    found = ByPhrase(Lengths()).ground(
        [image] * 2, [(4, 4)] * 2, ["a red cat. the sky", "x"], [[(0, 9), (11, 18)], []]
    )
    assert [[one.scores[0] for one in some if one.scores is not None] for some in found] == [
        [pytest.approx(0.09), pytest.approx(0.07)],
        [],
    ]
