"""Both losses beside a computation by hand, and their gradient through gathered rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.models.groupvit.losses import balance, contrastive

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


def test_uneven_groups_cost_the_entropy_that_they_lack() -> None:
    rng = np.random.default_rng(0)
    soft = [rng.dirichlet(np.ones(groups), (2, 5)).transpose(0, 2, 1) for groups in (4, 3)]
    wanted = 0.0
    for one in soft:
        share = one.mean((0, 2))
        wanted += np.log(len(share)) + float((share * np.log(share)).sum())
    assert balance([torch.from_numpy(one) for one in soft]).item() == pytest.approx(
        wanted, rel=1e-5
    )
    alone, even = torch.zeros(1, 4, 8), torch.eye(4).repeat(1, 2)[None]
    alone[:, 0] = 1
    assert balance([alone]).item() == pytest.approx(np.log(4), rel=1e-4)
    assert balance([even]).item() == pytest.approx(0, abs=1e-6)
