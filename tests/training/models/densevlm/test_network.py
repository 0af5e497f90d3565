"""The objective of a batch against its parts, and where its gradient goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.tiny import densevlm as tiny
from training.models.densevlm import losses
from training.models.densevlm.network import Aim, Batch, DenseVlm, mistaken, objective
from training.models.densevlm.regions import pool_boxes
from training.models.densevlm.towers import Tower

BOXES = torch.tensor([[[0.0, 0, 0.5, 0.5], [0.25, 0, 1, 1]], [[0.5, 0.5, 1, 1], [0, 0, 0, 0]]])
KNOWN = torch.tensor([[True, True], [True, False]])
BATCH = Batch(tiny.pixels(2), BOXES, KNOWN, torch.zeros(0, 3, 1, 1, dtype=torch.uint8))
AIM = Aim(things=3, theta=0.0, scale=5.0, teacher_scale=7.0, apart=False)


def _model() -> DenseVlm:
    drawn = torch.Generator().manual_seed(4)
    texts = [F.normalize(torch.randn(5, 6, generator=drawn), dim=1) for _ in range(2)]
    student, teacher = tiny.tower(0), tiny.tower(1)
    student.freeze(2)
    teacher.freeze()
    return DenseVlm(student, texts[0], teacher, texts[1])


def test_the_objective_is_the_alignment_of_the_regions_that_count() -> None:
    model = _model()
    found = objective(model, BATCH, AIM)
    sides = []
    for tower, texts, scale in (
        (model.student, model.student_texts, 5.0),
        (model.teacher, model.teacher_texts, 7.0),
    ):
        maps = tower.dense(BATCH.pixels)
        rows = torch.cat([pool_boxes(maps[n : n + 1], BOXES[n : n + 1])[0] for n in range(2)])[:3]
        sides.append(scale * F.normalize(rows, dim=1) @ texts.T)
    wanted = losses.aligned(sides[0], sides[1], 3, 0.0, apart=False)
    torch.testing.assert_close(found["loss"], wanted.thing + wanted.stuff)
    assert found.keys() == {"loss", "thing", "stuff", "kept", "things_of_kept"}
    assert float(found["kept"]) == 1


def test_only_the_student_learns() -> None:
    model = _model()
    torch.autograd.backward(objective(model, BATCH, AIM)["loss"])
    for name, value in model.named_parameters():
        assert (value.grad is not None) == value.requires_grad, name


def test_the_teacher_may_see_more_pixels() -> None:
    model = _model()
    larger = objective(model, BATCH, replace(AIM, teacher_side=64))["loss"]
    assert float(larger.detach()) != pytest.approx(
        float(objective(model, BATCH, AIM)["loss"].detach())
    )


def test_clipself_brings_regions_to_their_crops() -> None:
    model = _model()
    batch = replace(BATCH, crops=tiny.pixels(3))
    found = objective(model, batch, Aim("clipself"))
    rows = F.normalize(pool_boxes(model.student.dense(BATCH.pixels), BOXES)[KNOWN], dim=1)
    with torch.no_grad():
        crops = model.teacher.embed(batch.crops)
    torch.testing.assert_close(found["loss"], 1 - (rows * crops).sum(1).mean())
    assert found.keys() == {"loss"}


def test_regions_and_categories_meet_in_whole_precision() -> None:
    class Exact(nn.Module):
        """A network that mixed precision does not change."""

        blocks = nn.ModuleList()
        idle = ()

        def dense(self, pixels: Tensor) -> Tensor:
            found = F.avg_pool2d(pixels, 8)
            return torch.cat([found, found.square()], 1).permute(0, 2, 3, 1)

    model = _model()
    tower = Tower(Exact(), 8, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    exact = DenseVlm(tower, model.student_texts, tower, model.teacher_texts)
    aim = replace(AIM, scale=100.0, teacher_scale=100.0)
    wanted = objective(exact, BATCH, aim)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(exact, BATCH, aim)["loss"]
    torch.testing.assert_close(found, wanted)


def test_a_share_of_labels_is_made_wrong() -> None:
    regions = F.normalize(torch.randn(4000, 6, generator=torch.Generator().manual_seed(5)), dim=1)
    torch.manual_seed(0)
    found = mistaken(regions, 0.25)
    changed = (found != regions).any(1)
    assert float(changed.float().mean()) == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4000))
    # Nothing of what was there is left in those that were changed.
    assert float((found * regions)[changed].sum(1).mean()) == pytest.approx(0, abs=0.05)


def test_without_planted_noise_nothing_is_drawn() -> None:
    regions = torch.ones(2, 3)
    torch.manual_seed(0)
    assert mistaken(regions, 0.0) is regions
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


def test_the_objective_learns_the_labels_that_were_planted() -> None:
    model = _model()
    torch.manual_seed(0)
    found = objective(model, BATCH, replace(AIM, noise=1.0))
    torch.manual_seed(0)
    student, teacher = (
        F.normalize(pool_boxes(tower.dense(BATCH.pixels), BOXES)[KNOWN], dim=1)
        for tower in (model.student, model.teacher)
    )
    known = 7 * mistaken(teacher, 1.0) @ model.teacher_texts.T
    wanted = losses.aligned(5 * student @ model.student_texts.T, known, 3, 0.0, apart=False)
    torch.testing.assert_close(found["loss"], wanted.thing + wanted.stuff)
    clean = objective(model, BATCH, AIM)["loss"]
    assert float(clean.detach()) != pytest.approx(float(found["loss"].detach()), rel=1e-3)
