"""Hard assignment with the gradient of the soft one, noise, and means of groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.models.groupvit.grouping import Assignment, assignment, gumbel


def test_an_assignment_is_one_hot_and_has_the_gradient_of_the_softmax() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    hard = assignment(logits)
    assert torch.allclose(hard, torch.nn.functional.one_hot(logits.argmax(1), 3).mT.float())
    (ours,) = torch.autograd.grad((hard * weight).sum(), logits)
    (soft,) = torch.autograd.grad((logits.softmax(1) * weight).sum(), logits)
    torch.testing.assert_close(ours, soft)


def test_noise_draws_groups_by_their_shares() -> None:
    torch.manual_seed(0)
    logits = torch.log(torch.tensor([0.6, 0.3, 0.1]))[None, :, None].expand(1, 3, 20_000)
    shares = assignment(gumbel(logits)).mean(2)[0]
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.015)


def test_a_group_is_the_mean_over_its_segments_and_one_more() -> None:
    torch.manual_seed(0)
    block = Assignment(4, 1.0).eval()
    groups, segments = torch.randn(1, 2, 4), torch.randn(1, 3, 4)
    found, soft = block(groups, segments)
    scores = (block.query(groups)[0] @ block.key(segments)[0].T / 2).detach().numpy()
    share = np.exp(scores) / np.exp(scores).sum(0)
    np.testing.assert_allclose(soft[0].detach().numpy(), share, rtol=1e-5)
    value = block.value(segments)[0].detach().numpy()
    for group in range(2):
        members = [n for n in range(3) if scores[:, n].argmax() == group]
        mean = sum((value[n] for n in members), np.zeros(4)) / (len(members) + 1)
        wanted = block.out(torch.tensor(mean, dtype=torch.float32)).detach().numpy()
        np.testing.assert_allclose(found[0, group].detach().numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_noise_is_for_training_alone() -> None:
    torch.manual_seed(0)
    block, groups, segments = Assignment(4, 1.0), torch.randn(1, 3, 4), torch.randn(1, 50, 4)
    drawn = [block.train()(groups, segments)[0] for _ in range(2)]
    said = [block.eval()(groups, segments)[0] for _ in range(2)]
    assert not torch.equal(*drawn) and torch.equal(*said)


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_sharpness_multiplies_the_logits(sharpness: float) -> None:
    torch.manual_seed(0)
    plain, sharp = Assignment(4, 1.0).eval(), Assignment(4, sharpness).eval()
    sharp.load_state_dict(plain.state_dict())
    groups, segments = torch.randn(1, 2, 4), torch.randn(1, 3, 4)
    soft = plain(groups, segments)[1].log()
    wanted = (sharpness * soft).softmax(1)
    torch.testing.assert_close(sharp(groups, segments)[1], wanted)
