"""Mask scores beside the inscribed ellipse."""

from __future__ import annotations

import math

import pytest

from grand_pipeline.columns import Annotation
from grand_pipeline.evaluation.lexicon import picturebook_lexicon
from grand_pipeline.evaluation.masks import ellipse, mask_scores
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import pair
from grand_pipeline.types import Segment
from tests.evaluation.rows import filled, row, thing

BOX = (10.0, 10.0, 50.0, 50.0)


def _scores(ours: Annotation, true: Annotation, *segments: Segment) -> Scores:
    joined = pair(ours, true, picturebook_lexicon())
    return mask_scores([joined], {true.image_id: segments} if segments else None)


def test_the_ellipse_fills_pi_quarters_of_its_box() -> None:
    assert ellipse(BOX, (64, 64)).sum() == pytest.approx(40 * 40 * math.pi / 4, rel=0.02)


def test_the_baseline_uses_the_predicted_box() -> None:
    shifted = (10.0, 10.0, 50.0, 40.0)
    scores = _scores(row(thing(0, "dog", shifted)), row(thing(0, "dog", BOX)))
    assert scores["masks.miou"] == pytest.approx(0.75)
    assert scores["masks.ellipse_miou"] == pytest.approx(0.75 * math.pi / 4, rel=0.02)


def test_a_missing_mask_counts_zero() -> None:
    ours = row(thing(0, "dog", BOX), thing(1, "cat", (0, 0, 9, 9), mask=None, mask_source=None))
    true = row(thing(0, "dog", BOX), thing(1, "cat", (0, 0, 9, 9)))
    scores = _scores(ours, true)
    assert (scores["masks.miou"], scores["masks.coverage"]) == (0.5, 0.5)


def test_only_box_prompted_masks_count_as_such() -> None:
    ours = row(
        thing(0, "dog", BOX, mask_source="auto"),
        thing(1, "cat", (0, 0, 9, 9), mask=filled((0, 0, 9, 3)), mask_source="box"),
    )
    scores = _scores(ours, row(thing(0, "dog", BOX), thing(1, "cat", (0, 0, 9, 9))))
    assert scores["masks.box_prompted_miou"] == pytest.approx(1 / 3)
    assert scores["masks.box_prompted_share"] == 0.5


def test_unmatched_objects_have_no_mask_score() -> None:
    assert _scores(row(thing(0, "cat", BOX)), row(thing(0, "dog", BOX)))["masks.miou"] is None


def test_recall_of_automatic_masks_ignores_classes() -> None:
    good = Segment(BOX, filled(BOX), 0.9, 0.9)
    true = row(thing(0, "dog", BOX), thing(1, "cat", (0, 0, 9, 9)))
    assert _scores(row(), true, good)["masks.auto_recall50"] == 0.5
    assert _scores(row(), true)["masks.auto_recall50"] is None


def test_a_region_of_stuff_not_predicted_counts_zero() -> None:
    sky, sand = (
        thing(0, "sky", (0, 0, 64, 30), kind="stuff"),
        thing(1, "sand", (0, 30, 64, 64), kind="stuff"),
    )
    assert _scores(row(sky), row(sky, sand))["masks.stuff_miou"] == 0.5
