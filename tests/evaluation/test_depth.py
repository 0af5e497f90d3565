"""Depth order and delta1, and the mean map they are held against."""

from __future__ import annotations

import numpy as np
import pytest

from grand_pipeline.evaluation.depth import delta1, depth_scores, mean_map, resize
from grand_pipeline.evaluation.lexicon import picturebook_lexicon
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import pair
from grand_pipeline.types import DepthMap
from tests.evaluation.rows import row, thing

UPPER, LOWER = (0.0, 0.0, 20.0, 20.0), (0.0, 40.0, 20.0, 60.0)
RAMP = np.repeat(np.linspace(0.1, 1.0, 64, dtype=np.float32)[:, None], 64, axis=1)


def _scores(
    ours: tuple[float | None, float | None], true: tuple[float, float], maps: bool = True
) -> Scores:
    rows = [
        row(thing(0, "dog", UPPER, depth=depths[0]), thing(1, "cat", LOWER, depth=depths[1]))
        for depths in (ours, true)
    ]
    joined = pair(rows[0], rows[1], picturebook_lexicon())
    known = {rows[1].image_id: DepthMap.of(RAMP)}
    return depth_scores([joined], known, known if maps else None)


@pytest.mark.parametrize(
    ("ours", "wanted"),
    [((0.1, 0.9), 1.0), ((0.9, 0.1), 0.0), ((0.5, 0.5), 0.0), ((None, 0.9), 0.0)],
)
def test_order_of_a_pair(ours: tuple[float | None, float | None], wanted: float) -> None:
    assert _scores(ours, (0.2, 0.8))["depth.pair_order"] == wanted


def test_pairs_of_nearly_equal_depth_are_not_asked() -> None:
    assert _scores((0.1, 0.9), (0.50, 0.52))["depth.pair_order"] is None


def test_the_mean_map_says_lower_is_nearer() -> None:
    assert _scores((0.1, 0.9), (0.2, 0.8))["depth.pair_order_mean_map"] == 1.0
    assert _scores((0.1, 0.9), (0.8, 0.2))["depth.pair_order_mean_map"] == 0.0
    assert _scores((0.1, 0.9), (0.2, 0.8), maps=False)["depth.pair_order_mean_map"] is None


def test_delta1_forgives_scale_and_shift_only() -> None:
    assert delta1(5 * RAMP - 3, RAMP) == 1.0
    assert delta1(np.full_like(RAMP, 0.3), RAMP) < 0.6
    assert delta1(RAMP[::-1], RAMP) == delta1(-RAMP[::-1], RAMP)


def test_the_mean_map_is_a_mean_at_any_size() -> None:
    maps = [DepthMap.of(np.full((8, 8), 0.25)), DepthMap.of(np.full((32, 16), 0.75))]
    assert mean_map(maps) == pytest.approx(0.5)


def test_resize_keeps_ramps() -> None:
    assert resize(RAMP, (32, 16))[:, 3] == pytest.approx(RAMP[::2, 0], abs=0.02)
