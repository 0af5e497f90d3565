"""Every term of X-VLM against a computation by hand, in numpy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.models.xvlm import losses

TEMPERATURE = torch.tensor(0.07)


def _unit(rng: np.random.Generator, rows: int, width: int) -> NDArray[np.float32]:
    drawn = rng.normal(size=(rows, width))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def _cross_entropy(logits: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    log_share = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-(target * log_share).sum(1).mean())


def test_contrastive_is_cross_entropy_both_ways() -> None:
    rng = np.random.default_rng(0)
    v, t = _unit(rng, 5, 8), _unit(rng, 5, 8)
    logits = (v @ t.T).astype(np.float64) / 0.07
    by_hand = (_cross_entropy(logits, np.eye(5)) + _cross_entropy(logits.T, np.eye(5))) / 2
    ours = losses.contrastive(
        torch.from_numpy(v), torch.from_numpy(t), TEMPERATURE, torch.arange(5)
    )
    assert float(ours) == pytest.approx(by_hand, rel=1e-5)


def test_equal_texts_share_the_target() -> None:
    rng = np.random.default_rng(1)
    v, t = _unit(rng, 4, 8), _unit(rng, 4, 8)
    logits = (v @ t.T).astype(np.float64) / 0.07
    target = np.array([[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1.0]])
    by_hand = (_cross_entropy(logits, target) + _cross_entropy(logits.T, target)) / 2
    groups = torch.tensor([7, 2, 7, 9])
    ours = losses.contrastive(torch.from_numpy(v), torch.from_numpy(t), TEMPERATURE, groups)
    assert float(ours) == pytest.approx(by_hand, rel=1e-5)


def test_hard_negatives_follow_the_similarities() -> None:
    rng = np.random.default_rng(2)
    v, t = _unit(rng, 3, 4), _unit(rng, 3, 4)
    logits = (v @ t.T).astype(np.float64) / 0.07
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) + 1e-5
    np.fill_diagonal(chances, 0)
    expected = chances / chances.sum(1, keepdims=True)
    torch.manual_seed(0)
    drawn = torch.stack(
        [
            losses.hard_negatives(
                torch.from_numpy(v), torch.from_numpy(t), TEMPERATURE, torch.arange(3)
            )[1]
            for _ in range(2000)
        ]
    ).numpy()
    counted = np.stack([(drawn == column).mean(0) for column in range(3)], 1)
    np.testing.assert_allclose(counted, expected, atol=0.04)


def test_negatives_of_concepts_look_along_the_other_axis() -> None:
    # Text 0 is nearest to concept 2, concept 0 to text 1.
    v = torch.eye(3)
    t = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.1, 0.0]])
    concepts, texts = losses.hard_negatives(v, t, torch.tensor(0.01), torch.arange(3))
    assert (int(concepts[0]), int(texts[0])) == (2, 1)


def test_equal_texts_are_no_negatives() -> None:
    same = torch.ones(4, 2) / 2**0.5
    torch.manual_seed(0)
    for _ in range(20):
        concepts, texts = losses.hard_negatives(same, same, TEMPERATURE, torch.tensor([0, 0, 1, 1]))
        assert all(int(i) in (2, 3) for i in (*concepts[:2], *texts[:2]))


def test_a_row_that_all_are_equal_to_draws_itself() -> None:
    same = torch.ones(3, 2)
    concepts, texts = losses.hard_negatives(same, same, TEMPERATURE, torch.zeros(3).long())
    assert concepts.tolist() == texts.tolist() == [0, 1, 2]


def test_matching_is_two_way_cross_entropy() -> None:
    logits = np.array([[0.3, 1.2], [-1.0, 0.5], [2.0, 0.1]])
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_hand = -np.log([share[0, 1], share[1, 0], share[2, 0]]).mean()
    ours = losses.matching(torch.from_numpy(logits), torch.tensor([True, False, False]))
    assert float(ours) == pytest.approx(by_hand)


def test_masked_words_are_averaged_over_masks() -> None:
    logits = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_hand = -(np.log(share[0, 1]) + np.log(share[1, 0])) / 2
    ours = losses.masked_words(torch.from_numpy(logits), torch.tensor([1, 0]))
    assert float(ours) == pytest.approx(by_hand)
    assert float(losses.masked_words(torch.zeros(0, 3), torch.zeros(0).long())) == 0


def _giou(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Of two cxcywh boxes, by counting."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    left, right = max(ax - aw / 2, bx - bw / 2), min(ax + aw / 2, bx + bw / 2)
    top, bottom = max(ay - ah / 2, by - bh / 2), min(ay + ah / 2, by + bh / 2)
    shared = max(right - left, 0) * max(bottom - top, 0)
    union = aw * ah + bw * bh - shared
    hull = (max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)) * (
        max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    )
    return float(shared / union - (hull - union) / hull)


def test_boxes_are_l1_and_generalised_iou() -> None:
    rng = np.random.default_rng(3)
    a = np.concatenate([rng.uniform(0.3, 0.7, (6, 2)), rng.uniform(0.05, 0.5, (6, 2))], 1)
    b = np.concatenate([rng.uniform(0.3, 0.7, (6, 2)), rng.uniform(0.05, 0.5, (6, 2))], 1)
    distance, overlap = losses.boxes(torch.from_numpy(a), torch.from_numpy(b))
    assert float(distance) == pytest.approx(np.abs(a - b).sum() / 6)
    by_hand = np.mean([1 - _giou(*pair) for pair in zip(a, b, strict=True)])
    assert float(overlap) == pytest.approx(by_hand)


def test_generalised_iou_of_known_boxes() -> None:
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1]])
    b = torch.tensor([[0.0, 0, 2, 2], [1, 0, 2, 1], [3, 0, 4, 1]])
    # The same; side by side; two apart: of a hull of 4, 2 are empty.
    assert losses.generalized_iou(a, b).tolist() == [1.0, 0.0, -0.5]


def test_no_boxes_cost_nothing_and_keep_their_graph() -> None:
    nothing = torch.zeros(0, 4, requires_grad=True)
    distance, overlap = losses.boxes(nothing, torch.zeros(0, 4))
    assert distance.item() == overlap.item() == 0
    torch.autograd.backward(distance + overlap)
    assert nothing.grad is not None


def test_gathering_alone_changes_nothing() -> None:
    rows = torch.arange(6.0).reshape(3, 2).requires_grad_()
    for exact in (True, False):
        assert losses.gathered(rows, exact=exact).tolist() == rows.tolist()
        (grad,) = torch.autograd.grad(losses.gathered(rows, exact=exact).sum(), rows)
        assert grad.tolist() == torch.ones(3, 2).tolist()
