"""The sum of the terms: which there are, what they reach, and that they can be learnt."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import xvlm
from training.models.xvlm.network import Xvlm, patches_in, whole
from training.models.xvlm.objective import Batch, Terms, freeze_unused, objective

BOXES = torch.tensor(
    [[0.5, 0.5, 1, 1], [0.5, 0.5, 1, 1], [0.25, 0.25, 0.5, 0.5], [0.7, 0.6, 0.3, 0.4]]
)


def _batch(boxes: torch.Tensor = BOXES) -> Batch:
    tokens, mask = xvlm.texts(len(boxes))
    labels = torch.full_like(tokens, -100)
    labels[:, 1] = tokens[:, 1]
    hidden = tokens.clone()
    hidden[:, 1] = 4
    return Batch(
        pixels=xvlm.pixels(2),
        image=torch.tensor([0, 1, 0, 1]),
        boxes=boxes,
        is_image=(boxes[:, 2] == 1),
        inside=patches_in(boxes, xvlm.SIZES.grid),
        tokens=tokens,
        mask=mask,
        hidden=hidden,
        labels=labels,
        groups=torch.arange(len(boxes)),
    )


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        (Terms(), {"contrastive", "matching", "words", "box_l1", "box_giou"}),
        (Terms(box=False), {"contrastive", "matching", "words"}),
        (Terms(align=False), {"box_l1", "box_giou"}),
    ],
)
def test_the_loss_is_the_sum_of_the_wanted_terms(terms: Terms, names: set[str]) -> None:
    found = objective(xvlm.network(), _batch(), terms)
    assert found.keys() == names | {"loss"}
    torch.testing.assert_close(found["loss"], torch.stack([found[n] for n in names]).sum())


@pytest.mark.parametrize("terms", [Terms(), Terms(box=False), Terms(align=False)])
def test_every_parameter_that_is_not_frozen_is_reached(terms: Terms) -> None:
    model = xvlm.network()
    freeze_unused(model, terms)
    torch.autograd.backward(objective(model, _batch(), terms)["loss"])
    left = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert left == []


def test_a_batch_without_boxes_has_no_box_to_find() -> None:
    model = xvlm.network()
    whole = BOXES[:1].repeat(4, 1)
    found = objective(model, _batch(whole), Terms())
    assert found["box_l1"].item() == found["box_giou"].item() == 0
    torch.autograd.backward(found["loss"])
    assert all(p.grad is not None for p in model.box_head.parameters())


def test_the_temperature_stays_inside_its_bounds() -> None:
    model = xvlm.network()
    with torch.no_grad():
        model.temperature.fill_(7.0)
    objective(model, _batch(), Terms())
    assert model.temperature.item() == 0.5


def _steps(model: Xvlm, terms: Terms, count: int) -> list[float]:
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    losses = []
    for _ in range(count):
        loss = objective(model, _batch(), terms)["loss"]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_four_pairs_can_be_learnt_by_heart() -> None:
    losses = _steps(xvlm.network(), Terms(), 60)
    assert losses[-1] < losses[0] / 2


def test_heads_and_similarities_are_precise_in_mixed_precision() -> None:
    model = xvlm.network()
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(model, _batch(), Terms())
        concepts, texts = whole(model.see(xvlm.pixels(2))), model.read(*xvlm.texts(2))
        vectors = model.project(concepts, texts)
        boxes = model.locate(model.fuse(texts, concepts))
    assert {one.dtype for one in (*vectors, boxes, *found.values())} == {torch.float32}
    torch.testing.assert_close(vectors[0].norm(dim=1), torch.ones(2))
    plain = objective(model, _batch(), Terms())
    torch.testing.assert_close(found["contrastive"], plain["contrastive"], rtol=0.05, atol=0.05)
