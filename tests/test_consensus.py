"""What groups of detections come to, against the same rule written plainly."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline import geometry
from grand_pipeline.consensus import Ballot, decide, tally
from grand_pipeline.matching import Groups
from grand_pipeline.overlaps import IntArray
from grand_pipeline.types import BoolArray

KINDS = {(1, 0), (2, 0), (2, 1)}
"""Label 2 is a kind of 1, and both are kinds of 0; 3 stands alone."""


def is_a(labels: IntArray, kinds: IntArray) -> BoolArray:
    pairs = zip(labels.tolist(), kinds.tolist(), strict=True)
    return np.array([pair in KINDS for pair in pairs], bool)


MEMBER = st.tuples(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 30), st.integers(1, 30)),
    st.integers(0, 20).map(lambda n: n / 16),
    st.integers(0, 2),
    st.integers(0, 3),
)
Member = tuple[tuple[int, int, int, int], float, int, int]
"""Box (x, y, width, height), score, source, label."""


def ballot(members: list[Member]) -> Ballot:
    return Ballot(
        geometry.as_boxes([(x, y, x + w, y + h) for (x, y, w, h), *_ in members]),
        np.array([score for _, score, _, _ in members], np.float64),
        np.array([source for *_, source, _ in members], np.int64),
        np.array([key for *_, key in members], np.int64),
        np.zeros(len(members), np.int64),
    )


def plainly(members: list[Member]) -> tuple[int, list[float], float, int]:
    """Label, box, score and number of sources of one group."""
    weights: dict[int, float] = defaultdict(float)
    for _, score, _, key in members:
        weights[key] += score
    winner = min(weights, key=lambda key: (-weights[key], key))
    narrower = [key for key in weights if (key, winner) in KINDS]
    winner = min(narrower, key=lambda key: (-weights[key], key)) if narrower else winner
    agreeing = [m for m in members if m[3] == winner or (winner, m[3]) in KINDS]
    shares = [score**2 for _, score, _, _ in agreeing]
    shares = shares if any(shares) else [1.0] * len(agreeing)
    corners = [(x, y, x + w, y + h) for (x, y, w, h), *_ in agreeing]
    box = [
        math.fsum(s * c for s, c in zip(shares, side, strict=True)) / math.fsum(shares)
        for side in zip(*corners, strict=True)
    ]
    best: dict[int, float] = defaultdict(float)
    for _, score, source, _ in agreeing:
        best[source] = max(best[source], min(1.0, score))
    score = 1.0 - math.prod(1.0 - one for one in best.values())
    return winner, box, score, len({source for *_, source, _ in members})


@given(st.lists(st.lists(MEMBER, min_size=1, max_size=6), min_size=1, max_size=4))
def test_groups_are_decided_as_one_by_one(groups: list[list[Member]]) -> None:
    flat = [member for group in groups for member in group]
    ends = np.cumsum([len(group) for group in groups]).tolist()
    indices = [list(range(end - len(g), end)) for g, end in zip(groups, ends, strict=True)]
    found = decide(ballot(flat), Groups.of(indices), is_a)
    for n, group in enumerate(groups):
        winner, box, score, voters = plainly(group)
        assert (found.keys[n], found.voters[n]) == (winner, voters)
        assert found.boxes[n] == pytest.approx(box)
        assert found.scores[n] == pytest.approx(score)


@given(st.lists(st.lists(MEMBER, min_size=1, max_size=3), min_size=1, max_size=4))
def test_tally_is_decide_for_one_label_and_different_sources(groups: list[list[Member]]) -> None:
    alike = [[(b, s, n, 2) for n, (b, s, _, _) in enumerate(group)] for group in groups]
    flat = [member for group in alike for member in group]
    ends = np.cumsum([len(group) for group in alike]).tolist()
    indices = [list(range(end - len(g), end)) for g, end in zip(alike, ends, strict=True)]
    one, two = (
        tally(ballot(flat), Groups.of(indices)),
        decide(ballot(flat), Groups.of(indices), is_a),
    )
    assert one.keys.tolist() == two.keys.tolist()
    assert one.voters.tolist() == two.voters.tolist()
    assert one.boxes == pytest.approx(two.boxes)
    assert one.scores == pytest.approx(two.scores)


def test_a_single_score_is_kept_to_the_last_digit() -> None:
    alone = ballot([((0, 0, 5, 5), 0.3, 0, 0)])
    assert tally(alone, Groups.of([[0]])).scores.tolist() == [0.3]
    assert decide(alone, Groups.of([[0]]), is_a).scores.tolist() == [0.3]


def test_rank_is_by_voters_then_score() -> None:
    members: list[Member] = [
        ((0, 0, 5, 5), 0.9, 0, 0), ((0, 0, 5, 5), 0.2, 0, 1), ((0, 0, 5, 5), 0.2, 1, 1),
        ((0, 0, 5, 5), 0.95, 0, 2),
    ]  # fmt: skip
    groups = Groups.of([[0], [1, 2], [3]])
    assert decide(ballot(members), groups, is_a).ranked().tolist() == [1, 2, 0]
    images = replace(ballot(members), images=np.array([0, 1, 1, 0]))
    assert decide(images, groups, is_a).ranked().tolist() == [2, 0, 1]


def test_rounding_keeps_a_mean_inside_its_boxes() -> None:
    side = (0.1, 0.1, 0.7, 0.7)
    same = Ballot(
        geometry.as_boxes([side] * 3),
        np.array([0.3, 0.7, 0.9]),
        np.arange(3),
        np.zeros(3, int),
        np.zeros(3, int),
    )
    exact = geometry.as_boxes([side])[0].astype(np.float64).tolist()
    assert tally(same, Groups.of([[0, 1, 2]])).boxes[0].tolist() == exact
