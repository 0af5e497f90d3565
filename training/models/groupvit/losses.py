"""The contrastive loss of images with their captions, and with several words each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive(
    images: Tensor, texts: Tensor, scale: Tensor, belongs: Tensor | None = None
) -> Tensor:
    """Cross-entropy between similarity and truth, from images to texts and back, averaged.

    With K = 1 the loss of images and captions, with more the multi-label loss of the paper's
    section 3.2: the texts of an image share its target.

    Args:
        images: (N, P) unit vectors.
        texts: (N, K, P) unit vectors; row n belongs to image n.
        scale: (1,), similarities are multiplied by it.
        belongs: (N, N, K) bool: texts (j, k) that belong to image i beside its own, because they
            say the same; they share the target too. None: no text does, as published.
    """
    count, several = texts.shape[:2]
    own = torch.eye(count, dtype=torch.bool, device=images.device)[:, :, None]
    held = own.expand(-1, -1, several) if belongs is None else belongs | own
    target = held.flatten(1).float()
    with torch.autocast(images.device.type, enabled=False):
        logits = images.float() @ texts.float().flatten(0, 1).T * scale
    to_texts = F.cross_entropy(logits, target / target.sum(1, keepdim=True))
    to_images = F.cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return (to_texts + to_images) / 2


def presence(assignments: Sequence[Tensor]) -> Tensor:
    """How far groups are from having a segment to themselves in every picture, summed over stages.

    Not of the paper. The mean over pictures and groups of -log of the largest share that a group
    has of any segment, of soft assignments (B, G, N). It does not say how much a group should have:
    one segment that is surely its own is enough for 0.
    """
    found = assignments[0].new_zeros(())
    for soft in assignments:
        found = found - soft.float().amax(2).clamp(min=1e-9).log().mean()
    return found
