"""The shipped checkpoints keep their quality: scores of the default preset on unseen scenes.

A floor lies about 0.02 below the score that these scenes had when it was set: more than arithmetic
differs from machine to machine, less than is lost by a checkpoint that has become worse, or by the
small detector in the place of the large one. Sets of 40 scenes differ more among each other, so a
floor holds for these scenes alone. Whoever trains a checkpoint again sets its floors again. Nothing
here is a matter of time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.world import evaluate

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),  # the first test of a session that needs the world builds it
    pytest.mark.filterwarnings("ignore"),  # Ray warns on its own
]

FLOORS = {
    "objects.ap50": 0.95,
    "objects.ap": 0.75,
    "objects.ap50_seen_phrases": 0.97,
    "objects.ap50_heldout": 0.86,
    "objects.ap50_hypernyms": 0.945,
    "objects.f1": 0.93,
    "masks.coverage": 1.0,
    "masks.miou": 0.86,
    "masks.auto_recall50": 0.84,
    "depth.pair_order": 0.98,
    "attributes.color_accuracy": 0.97,
    "relations.f1": 0.95,
    "phrases.accuracy": 0.96,
    "captions.mention_precision": 0.96,
    "captions.mention_recall": 0.9,
    "dense_caption.facts_true": 0.965,
    "dense_caption.class_true": 0.97,
    "dense_caption.color_true": 0.96,
    "dense_caption.count_true": 0.93,
    "dense_caption.relation_true": 0.96,
    "dense_caption.mask_recall": 0.92,
    "spans.valid": 1.0,
}
"""Score -> the least it may be."""

DETECTORS = ("owl_vit", "owl_vit_small")


@pytest.fixture(scope="module")
def scores(world: Path) -> dict[str, Any]:
    return evaluate(world / "run", world / "truth")


@pytest.mark.parametrize("name", FLOORS)
def test_no_score_falls_below_its_floor(name: str, scores: dict[str, Any]) -> None:
    assert scores[name] is not None, f"{name}: nothing to judge"
    assert scores[name] >= FLOORS[name]


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_vote_beats_each_detector_alone(detector: str, scores: dict[str, Any]) -> None:
    assert scores["objects.f1"] > scores[f"objects.f1.{detector}"]


def test_depth_knows_more_than_where_things_mostly_are(scores: dict[str, Any]) -> None:
    assert scores["depth.pair_order"] > scores["depth.pair_order_mean_map"] + 0.05
    assert scores["depth.delta1"] > scores["depth.delta1_mean_map"] + 0.05
