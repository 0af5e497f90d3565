"""The losses against the same written out in numpy, region by region."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.models.densevlm import losses

THINGS = 4


def _logits(seed: int, sharpness: float) -> np.ndarray:
    return sharpness * np.random.default_rng(seed).normal(size=(30, 7))


def _softmax(row: np.ndarray) -> np.ndarray:
    raised = np.exp(row - row.max())
    return np.asarray(raised / raised.sum())


def _by_hand(student: np.ndarray, teacher: np.ndarray, theta: float, apart: bool) -> list[float]:
    sums, counts = [0.0, 0.0], [0, 0]
    for said, known in zip(student, teacher, strict=True):
        likely = _softmax(known)
        if likely.max() <= theta:
            continue
        stuff = int(likely.argmax() >= THINGS)
        part = slice(0, THINGS) if not stuff else slice(THINGS if apart else 0, None)
        p, q = _softmax(known[part]), _softmax(said[part])
        sums[stuff] += float((p * np.log(p / q)).sum())
        counts[stuff] += 1
    return [total / max(count, 1) for total, count in zip(sums, counts, strict=True)]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("theta", [0.0, 0.3, 0.6])
def test_the_alignment_is_that_of_a_loop(theta: float, apart: bool) -> None:
    student, teacher = _logits(0, 1.0), _logits(1, 1.2)
    found = losses.aligned(
        torch.from_numpy(student), torch.from_numpy(teacher), THINGS, theta, apart=apart
    )
    wanted = _by_hand(student, teacher, theta, apart)
    assert [float(found.thing), float(found.stuff)] == pytest.approx(wanted, rel=1e-5)
    likely = np.array([_softmax(row).max() for row in teacher])
    assert float(found.kept) == pytest.approx((likely > theta).mean())
    assert 0 < float(found.things) < 1


def test_a_label_as_likely_as_the_threshold_is_noise() -> None:
    even = torch.zeros(1, 4)
    assert float(losses.aligned(even, even, 2, 0.25, apart=True).kept) == 0
    assert float(losses.aligned(even, even, 2, 0.2499, apart=True).kept) == 1


def test_nothing_kept_is_no_loss_and_no_gradient() -> None:
    student = torch.randn(5, 7, requires_grad=True)
    found = losses.aligned(student, torch.zeros(5, 7), THINGS, 0.9, apart=True)
    total = found.thing + found.stuff
    torch.autograd.backward(total)
    assert float(total.detach()) == 0 and float(found.kept) == 0 and float(found.things) == 0
    assert student.grad is not None and float(student.grad.abs().sum()) == 0


def test_no_regions_are_no_loss() -> None:
    none = torch.zeros(0, 7)
    found = losses.aligned(none, none, THINGS, 0.3, apart=False)
    assert [float(found.thing), float(found.stuff), float(found.kept)] == [0, 0, 0]
    assert float(losses.distilled(torch.zeros(0, 3), torch.zeros(0, 3))) == 0


def test_things_do_not_learn_about_stuff() -> None:
    teacher = torch.zeros(1, 7)
    teacher[0, 1] = 5
    student = torch.randn(1, 7, requires_grad=True)
    torch.autograd.backward(losses.aligned(student, teacher, THINGS, 0.3, apart=False).thing)
    assert student.grad is not None
    assert bool((student.grad[0, THINGS:] == 0).all()) and bool(
        (student.grad[0, :THINGS] != 0).all()
    )


def test_distillation_is_one_less_the_mean_cosine() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    found = losses.distilled(torch.from_numpy(a), torch.from_numpy(b))
    assert float(found) == pytest.approx(1 - cosines.mean(), rel=1e-5)
