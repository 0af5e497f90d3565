"""Both losses beside a computation by hand, and their gradient through gathered rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.models.groupvit.losses import contrastive, presence

Array = NDArray[np.float64]


def _unit(rng: np.random.Generator, *shape: int) -> Array:
    drawn = rng.normal(size=shape)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))


def _by_hand(images: Array, texts: Array, scale: float, belongs: NDArray[np.bool_]) -> float:
    """Pair by pair: every image over all texts, every text over all images."""
    count, several = texts.shape[:2]
    pairs = [(j, k) for j in range(count) for k in range(several)]
    score = {
        (i, j, k): scale * float(images[i] @ texts[j, k]) for i in range(count) for j, k in pairs
    }
    forward = 0.0
    for i in range(count):
        total = np.log(sum(np.exp(score[i, j, k]) for j, k in pairs))
        right = [total - score[i, j, k] for j, k in pairs if belongs[i, j, k]]
        forward += sum(right) / len(right) / count
    back = 0.0
    for j, k in pairs:
        total = np.log(sum(np.exp(score[i, j, k]) for i in range(count)))
        right = [total - score[i, j, k] for i in range(count) if belongs[i, j, k]]
        back += sum(right) / len(right) / len(pairs)
    return (forward + back) / 2


def _loss(images: Array, texts: Array, scale: float, belongs: NDArray[np.bool_] | None) -> float:
    given = None if belongs is None else torch.from_numpy(belongs)
    factor = torch.tensor([scale])
    return float(contrastive(torch.from_numpy(images), torch.from_numpy(texts), factor, given))


@pytest.mark.parametrize("several", [1, 3])
def test_the_loss_is_that_of_all_pairs(several: int) -> None:
    rng = np.random.default_rng(several)
    images, texts = _unit(rng, 4, 6), _unit(rng, 4, several, 6)
    own = np.repeat(np.eye(4, dtype=bool)[:, :, None], several, 2)
    wanted = _by_hand(images, texts, 14.3, own)
    assert _loss(images, texts, 14.3, None) == pytest.approx(wanted, rel=1e-5)


def test_texts_that_say_the_same_share_the_target() -> None:
    rng = np.random.default_rng(7)
    images, texts = _unit(rng, 3, 5), _unit(rng, 3, 2, 5)
    belongs = np.zeros((3, 3, 2), bool)
    belongs[0, 1, 1] = belongs[2, 0, 0] = True
    own = belongs | np.eye(3, dtype=bool)[:, :, None]
    wanted = _by_hand(images, texts, 5.0, own)
    assert _loss(images, texts, 5.0, belongs) == pytest.approx(wanted, rel=1e-5)
    assert _loss(images, texts, 5.0, None) != pytest.approx(wanted, rel=1e-2)


def test_images_that_are_their_texts_cost_nothing() -> None:
    same = np.eye(3)
    assert _loss(same, same[:, None], 100.0, None) == pytest.approx(0, abs=1e-6)
    # Three texts of one image share its target: what is left is the entropy of a third each.
    three = np.repeat(same[:, None], 3, 1)
    assert _loss(same, three, 100.0, None) == pytest.approx(np.log(3) / 2, rel=1e-5)


def test_groups_without_a_segment_of_their_own_cost() -> None:
    rng = np.random.default_rng(0)
    soft = [rng.dirichlet(np.ones(groups), (2, 5)).transpose(0, 2, 1) for groups in (4, 3)]
    wanted = 0.0
    for one in soft:
        pictures, groups, segments = one.shape
        largest = [
            max(one[b, g, n] for n in range(segments))
            for b in range(pictures)
            for g in range(groups)
        ]
        wanted -= float(np.mean([np.log(share) for share in largest]))
    found = presence([torch.from_numpy(one) for one in soft])
    assert found.item() == pytest.approx(wanted, rel=1e-5)
    # One segment each is enough, however few that is of all.
    owned = torch.zeros(1, 4, 9)
    owned[0, 0, 3:] = 1
    owned[0, torch.arange(1, 4), torch.arange(3)] = 1
    assert presence([owned]).item() == 0
    # Groups that share all segments evenly have none.
    assert presence([torch.full((2, 4, 8), 0.25)]).item() == pytest.approx(np.log(4), rel=1e-5)
