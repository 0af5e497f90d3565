"""The terms of X-VLM's objective (sections 3.2 and 3.3), each a function of plain tensors."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from training.distributed import gather

IGNORED = -100
"""Label of a token that is not to be guessed."""


def contrastive(concepts: Tensor, texts: Tensor, temperature: Tensor, groups: Tensor) -> Tensor:
    """Equation 5: cross-entropy between similarity and truth, both ways, averaged.

    Args:
        concepts: (N, P) unit vectors.
        texts: (N, P) unit vectors; row n belongs to concept n.
        temperature: scalar that similarities are divided by.
        groups: (N,) integers; concepts and texts of equal groups belong together too, and share
            the target. All different: the one-hot target of the paper.
    """
    same = (groups[:, None] == groups).to(concepts.dtype)
    target = same / same.sum(1, keepdim=True)
    logits = _similarities(concepts, texts, temperature)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def hard_negatives(
    concepts: Tensor, texts: Tensor, temperature: Tensor, groups: Tensor
) -> tuple[Tensor, Tensor]:
    """For every text a concept, and for every concept a text, that do not belong to it.

    Drawn with the probabilities of equations 3 and 4 plus 1e-5, those of equal groups left out. A
    row for which nothing is left (all groups equal) draws itself; callers drop such rows.

    Returns:
        Indices (N,) of concepts and (N,) of texts.
    """
    with torch.no_grad():
        logits = _similarities(concepts, texts, temperature)
        same = groups[:, None] == groups
        drawn = []
        for table in (logits.T, logits):
            chances = (table.float().softmax(1) + 1e-5).masked_fill(same, 0)
            alone = chances.sum(1) == 0
            drawn.append(torch.multinomial(chances + torch.diag(alone.float()), 1)[:, 0])
        return drawn[0], drawn[1]


def _similarities(concepts: Tensor, texts: Tensor, temperature: Tensor) -> Tensor:
    """In full precision, whatever the rest is computed in: they are divided by little."""
    with torch.autocast(concepts.device.type, enabled=False):
        return concepts.float() @ texts.float().T / temperature


def matching(logits: Tensor, matched: Tensor) -> Tensor:
    """Equation 6: cross-entropy of logits (M, 2) with whether each pair matches (M,)."""
    return F.cross_entropy(logits, matched.long())


def masked_words(logits: Tensor, labels: Tensor) -> Tensor:
    """Equation 7: cross-entropy of logits (M, V) with the masked words (M,); 0 for none."""
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def boxes(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 2: the L1 distance, summed over coordinates, and 1 less the generalised IoU.

    Args:
        predicted: (N, 4) cxcywh as fractions of the image.
        target: (N, 4) likewise.

    Returns:
        Two scalars, means over the boxes; 0 for none.
    """
    count = max(len(target), 1)
    distance = (predicted - target).abs().sum() / count
    overlap = generalized_iou(corners(predicted), corners(target))
    return distance, (1 - overlap).sum() / count


def corners(boxes: Tensor) -> Tensor:
    """cxcywh (N, 4) as xyxy."""
    half = boxes[:, 2:] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (N,) of xyxy boxes, pair by pair (Rezatofighi et al., CVPR 2019)."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    union = _area(a) + _area(b) - shared
    around = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    hull = around.clamp(min=0).prod(1)
    least = torch.finfo(a.dtype).tiny
    return shared / union.clamp(min=least) - (hull - union) / hull.clamp(min=least)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def gathered(local: Tensor, *, exact: bool = True) -> Tensor:
    """The rows (N, ...) of all ranks, in their order; every rank must bring equally many.

    Every rank then computes the same loss, and data-parallel training averages the gradients. With
    `exact` the result is the gradient of the loss over the whole batch. Without, gradients reach
    only through the rank's own rows of its own loss, as in the released code, which makes them
    smaller by the number of ranks.
    """
    if exact:
        return gather(local)
    rows = gather(local.detach())
    first = dist.get_rank() * len(local) if dist.is_initialized() else 0
    return torch.cat([rows[:first], local, rows[first + len(local) :]])
