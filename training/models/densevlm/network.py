"""DenseVLM: a student, its frozen teacher, and the categories both know; one batch's objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.densevlm import losses
from training.models.densevlm.regions import pool_boxes
from training.models.densevlm.towers import Tower

Method = Literal["densevlm", "clipself"]


@dataclass(frozen=True)
class Batch:
    """B pictures and R regions of each, of which some count.

    pixels (B, 3, S, S) uint8, smaller pictures with a border at the right or bottom; boxes
    (B, R, 4) xyxy in fractions of the square; known (B, R) whether a region counts; crops
    (n, 3, c, c) uint8, what the n regions that count show, in their order, or none (0, ...); ids:
    the pictures, for messages.
    """

    pixels: Tensor
    boxes: Tensor
    known: Tensor
    crops: Tensor
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Aim:
    """What the student is to learn.

    "densevlm" aligns regions with the teacher's labels (`losses.aligned`): the first `things`
    categories are things, `theta` is the threshold of noise, `apart` whether stuff is told from
    stuff only; the scales multiply cosines. "clipself" brings regions to the teacher's features of
    their crops. The teacher sees pictures at `teacher_side` pixels, 0: as the student. Of `noise`
    regions of 1 its labels are planted ones (`mistaken`).
    """

    method: Method = "densevlm"
    things: int = 0
    theta: float = 0.3
    apart: bool = True
    scale: float = 100.0
    teacher_scale: float = 100.0
    teacher_side: int = 0
    noise: float = 0.0


class DenseVlm(nn.Module):
    """Both towers, each with the embeddings (C, P) of the categories in its own space."""

    student_texts: Tensor
    teacher_texts: Tensor

    def __init__(
        self, student: Tower, student_texts: Tensor, teacher: Tower, teacher_texts: Tensor
    ) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self.register_buffer("student_texts", student_texts)
        self.register_buffer("teacher_texts", teacher_texts)


def objective(model: DenseVlm, batch: Batch, aim: Aim) -> dict[str, Tensor]:
    """Named scalars of a batch, with what is minimised under "loss".

    Towers may run in mixed precision. What follows does not: a cosine of 8 bits, times a scale of
    100, is off by as much as categories differ.
    """
    seen = model.student.dense(batch.pixels)
    with torch.no_grad():
        if aim.method == "clipself":
            known = model.teacher.embed(batch.crops)
        else:
            known = model.teacher.dense(batch.pixels, aim.teacher_side)
    with torch.autocast(seen.device.type, enabled=False):
        student = _regions(seen, batch)
        if aim.method == "clipself":
            return {"loss": losses.distilled(student, known)}
        found = losses.aligned(
            aim.scale * student @ model.student_texts.T,
            aim.teacher_scale * mistaken(_regions(known, batch), aim.noise) @ model.teacher_texts.T,
            aim.things,
            aim.theta,
            apart=aim.apart,
        )
    terms = {"thing": found.thing, "stuff": found.stuff}
    shares = {"kept": found.kept, "things_of_kept": found.things}
    return {"loss": found.thing + found.stuff, **terms, **shares}


def mistaken(regions: Tensor, share: float) -> Tensor:
    """Features (n, P) of which about `share` of 1 are random directions: planted label noise.

    What a teacher says of a random direction has nothing to do with the region, and it is rarely
    sure of it, as of a region that shows nothing in particular.
    """
    if not share:
        return regions
    drawn = torch.rand(len(regions), 1, device=regions.device) < share
    return torch.where(drawn, F.normalize(torch.randn_like(regions), dim=1), regions)


def _regions(maps: Tensor, batch: Batch) -> Tensor:
    """Unit features (n, P) of the regions that count."""
    return F.normalize(pool_boxes(maps, batch.boxes)[batch.known], dim=1)
