"""Suppression against an oracle in exact fractions, and against torchvision's where that is there.

The project never calls torchvision's suppression, so the same boxes are kept with it and without.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grand_pipeline import geometry

ROOT = Path(__file__).parent.parent
Corners = tuple[int, int, int, int]

corners = st.tuples(*[st.integers(0, 12)] * 4)
crowds = st.lists(st.tuples(corners, st.sampled_from([0.25, 0.5, 0.5, 0.75])), max_size=12)
limits = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


def overlap(a: Corners, b: Corners) -> Fraction:
    """IoU counted in whole pixels; 0 for two empty boxes."""

    def pixels(x1: int, y1: int, x2: int, y2: int) -> int:
        return max(0, x2 - x1) * max(0, y2 - y1)

    both = pixels(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    either = pixels(*a) + pixels(*b) - both
    return Fraction(both, either) if either else Fraction(0)


def oracle(boxes: Sequence[Corners], scores: Sequence[float], limit: float) -> list[int]:
    """Take the best box left, the first of equals; drop what overlaps it by more than `limit`."""
    left, kept = list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda index: (scores[index], -index))
        kept.append(best)
        left = [n for n in left if n != best and overlap(boxes[n], boxes[best]) <= Fraction(limit)]
    return kept


def kept(boxes: Sequence[Corners], scores: Sequence[float], limit: float) -> list[int]:
    found = geometry.nms(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), limit)
    return [int(index) for index in found]


@settings(max_examples=300)
@given(crowds, limits)
def test_the_oracle_keeps_the_same(crowd: list[tuple[Corners, float]], limit: float) -> None:
    boxes, scores = [box for box, _ in crowd], [score for _, score in crowd]
    assert kept(boxes, scores, limit) == oracle(boxes, scores, limit)


HALVES = [(0, 0, 10, 10), (0, 0, 10, 5)]  # IoU exactly 1/2
TOUCHING = [(0, 0, 10, 10), (10, 0, 20, 10), (0, 10, 10, 20), (10, 10, 20, 20)]


@pytest.mark.parametrize(
    ("boxes", "scores", "limit", "expected"),
    [
        (HALVES, [0.9, 0.8], 0.5, [0, 1]),
        (HALVES, [0.9, 0.8], 0.49, [0]),
        (TOUCHING, [0.1, 0.4, 0.3, 0.2], 0.0, [1, 2, 3, 0]),
        ([(0, 0, 9, 9)] * 4, [0.5] * 4, 0.9, [0]),
        ([(0, 0, 9, 9)] * 4, [0.5] * 4, 1.0, [0, 1, 2, 3]),
        ([(0, 0, 9, 9), (1, 0, 10, 9), (2, 0, 11, 9)], [0.5, 0.5, 0.5], 0.75, [0, 2]),
        ([(3, 3, 3, 8), (3, 3, 3, 8)], [0.5, 0.6], 0.5, [1, 0]),
        ([], [], 0.5, []),
    ],
    ids=["at limit", "above", "touching", "equal", "equal kept", "chain", "empty", "none"],
)
def test_ties_and_borders(
    boxes: list[Corners], scores: list[float], limit: float, expected: list[int]
) -> None:
    assert kept(boxes, scores, limit) == oracle(boxes, scores, limit) == expected


@settings(max_examples=100)
@given(crowds, limits)
def test_torchvision_keeps_the_same(crowd: list[tuple[Corners, float]], limit: float) -> None:
    ops: Any = pytest.importorskip("torchvision.ops")
    torch: Any = pytest.importorskip("torch")
    # A box the wrong way round has no meaning for torchvision.
    crowd = [(b, score) for b, score in crowd if b[0] <= b[2] and b[1] <= b[3]]
    boxes, scores = [box for box, _ in crowd], [score for _, score in crowd]
    tensors = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores)
    assert ops.nms(*tensors, limit).tolist() == kept(boxes, scores, limit)


def test_nothing_uses_torchvision_or_what_needs_it() -> None:
    """The library's own mask generation is the one path that would call torchvision's."""
    for package in ("grand_pipeline", "stages", "training", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text("utf-8")
            assert "post_process_for_mask_generation" not in text, path
            assert "mask-generation" not in text, path
            for node in ast.walk(ast.parse(text)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [str(node.module)]
                assert not any(name.partition(".")[0] == "torchvision" for name in names), path
