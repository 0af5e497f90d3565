"""From groups to pixels and classes, on cases that can be counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny import groupvit
from tests.training.data import made
from training.models.groupvit import segments
from training.models.groupvit.segments import Shown

FIRST = torch.tensor([[0.6, 0.4, 0.0, 0.4], [0.4, 0.6, 1.0, 0.6]])  # 2 groups of 4 patches
SECOND = torch.tensor([[0.55, 0.0], [0.45, 1.0]])  # 2 groups of those


def test_assignments_are_multiplied_from_stage_to_stage() -> None:
    soft = segments.composed([FIRST, SECOND])
    np.testing.assert_allclose(soft[0], FIRST)
    np.testing.assert_allclose(soft[1], SECOND @ FIRST)
    np.testing.assert_allclose(soft[1].sum(0), np.ones(4), rtol=1e-6)


def test_whole_assignments_keep_what_soft_ones_lose() -> None:
    # The first patch: its group goes to the first, though little more than half of both does.
    hard = segments.composed([FIRST, SECOND], hard=True)
    assert hard[1].tolist() == [[1, 0, 0, 0], [0, 1, 1, 1]]
    assert segments.composed([FIRST, SECOND])[1].argmax(0).tolist() == [1, 1, 1, 1]


def test_pixels_belong_to_the_largest_group_of_the_enlarged_map() -> None:
    shares = torch.tensor([[[0.9, 0.2]], [[0.1, 0.8]]])
    # Bilinear between the two middles: the first loses between 0.5 and 0.57 of the way.
    found = segments.pixels(shares, (1, 8))
    assert found.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


def test_groups_are_given_classes_of_the_picture_alone() -> None:
    classes = torch.eye(7)
    feature = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.0])
    groups = torch.tensor([[0.0, 1, 0, 0, 0, 0, 0], [0, 0, 0.1, 0, 0, 0.9, 0]])
    shown = Shown(feature, groups, (), (1, 1), None)
    found = segments.named(shown, classes, torch.tensor([10.0]))
    logits = 10 * groups.numpy()
    among = np.exp(logits) / np.exp(logits)[:, :5].sum(1, keepdims=True)
    among[:, 5:] = 0
    every = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found, among * every, rtol=1e-5)
    assert found.argmax(1).tolist() == [1, 2]  # the sixth class is not among the five


def test_pixels_without_a_sure_class_are_left_out() -> None:
    groups = np.array([[0, 1, 2]])
    scores = np.array([[0.8, 0.1], [0.2, 0.5], [0.3, 0.1], [0.0, 0.99]], np.float32)
    assert segments.labels_of(groups, scores, 0.0).tolist() == [[0, 1, 0]]
    assert segments.labels_of(groups, scores, 0.4).tolist() == [[0, 1, -1]]
    # The surest group of the picture keeps its class; the last group has no pixel here.
    assert segments.labels_of(groups, scores, 0.95).tolist() == [[0, -1, -1]]


def test_classes_are_means_over_prompts() -> None:
    reading = replace(groupvit.READING, prompts=("a {}", "the {}"))
    trained = groupvit.trained(reading=reading)
    found = segments.embedded(trained, ["cat", "car"])
    texts = segments.encoded(trained, ["a cat", "the cat", "a car", "the car"])
    mean = (texts[0] + texts[1]) / 2
    torch.testing.assert_close(found[0], mean / mean.norm())
    assert segments.embedded(trained, []).shape == (0, 8)


@pytest.mark.parametrize(("side", "grid"), [(32, (4, 5)), (48, (6, 8))])
def test_pictures_keep_their_shape(side: int, grid: tuple[int, int]) -> None:
    trained = groupvit.trained(reading=replace(groupvit.READING, side=side))
    shown = segments.look(trained, made.picture())  # 48 x 64
    assert shown.grid == grid and shown.groups.shape == (3, 8) and shown.attention is None
    maps = segments.stages(shown, (48, 64))
    assert [m.shape for m in maps] == [(48, 64)] * 2 and maps[1].max() < 3
    plain = groupvit.trained(replace(groupvit.SIZES, depths=(2,), groups=()))
    seen = segments.look(plain, made.picture())
    assert seen.attention is not None and seen.attention.shape == (2, 4, 5)
    assert seen.groups.shape == (0, 8) and segments.stages(seen, (48, 64)) == []
