"""The losses of DenseVLM, and that of CLIPSelf, its baseline, on rows of regions.

Logits are cosines of regions and categories times a scale; the first `things` categories are
things, the others stuff.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Alignment:
    """Divergence of regions labelled as things and of those labelled as stuff, scalars; how many
    of all regions were kept, and how many of these are things, shares of 1."""

    thing: Tensor
    stuff: Tensor
    kept: Tensor
    things: Tensor


def aligned(
    student: Tensor, teacher: Tensor, things: int, theta: float, *, apart: bool
) -> Alignment:
    """Region-language alignment with the teacher's labels: logits (N, C) of both, without noise.

    The teacher's most likely category labels a region; one that is not likelier than `theta` is
    noise and left out. KL(teacher || student) is averaged over regions labelled as things, among
    things only, and over those labelled as stuff: among stuff only where `apart`, as the paper
    decouples both, or among all categories, as the published code does. A group without a region
    adds nothing (in the published code, with no region at all, the loss is not a number).
    """
    known = teacher.float().softmax(1)
    likely, label = known.max(1)
    kept = likely > theta
    is_thing = kept & (label < things)
    is_stuff = kept & (label >= things)
    among = slice(things if apart else 0, None)
    found = kept.sum()
    return Alignment(
        _divergence(student[is_thing, :things], teacher[is_thing, :things]),
        _divergence(student[is_stuff, among], teacher[is_stuff, among]),
        kept.float().mean() if len(kept) else found.float(),
        is_thing.sum() / found.clamp(min=1),
    )


def distilled(student: Tensor, teacher: Tensor) -> Tensor:
    """One less the cosine of regions and their crops, mean over rows (N, D); CLIPSelf, equation 1.

    Nothing for no rows.
    """
    distance = 1 - F.cosine_similarity(student.float(), teacher.float(), dim=1)
    return distance.sum() / max(len(distance), 1)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of rows (n, c) of logits, mean over the rows."""
    known, guessed = teacher.float().log_softmax(1), student.float().log_softmax(1)
    total = F.kl_div(guessed, known, reduction="sum", log_target=True)
    return total / max(len(known), 1)
