"""The objective of GroupViT on one batch: captions, and words of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.distributed import gather
from training.models.groupvit.losses import contrastive, presence
from training.models.groupvit.network import GroupVit

NOTHING = -1
"""In `Batch.held`: no text."""


@dataclass(frozen=True)
class Batch:
    """N images with 1 + K texts each: a caption and K prompts with words of the picture.

    pixels (N, 3, S, S); tokens and mask (N, 1 + K, L); said (N, 1 + K) numbers that are equal
    where texts say the same; held (N, M) the numbers of all that is said of a picture, -1 after
    the last; ids: the images, for messages.
    """

    pixels: Tensor
    tokens: Tensor
    mask: Tensor
    said: Tensor
    held: Tensor
    ids: tuple[str, ...] = ()


def objective(
    model: GroupVit,
    batch: Batch,
    *,
    share: bool = False,
    weight: float = 1.0,
    presence_weight: float = 0.0,
) -> dict[str, Tensor]:
    """The terms as named scalars; "loss" is that of captions plus `weight` times that of words
    plus `presence_weight` times that of groups without a segment.

    The rows of all ranks are compared. With `share`, a text that is true of another picture by
    what is said of it belongs to that picture as well; as published it counts as wrong there.
    """
    seen = model.vision(batch.pixels)
    images = gather(model.project_images(seen.features))
    features = model.text(batch.tokens.flatten(0, 1), batch.mask.flatten(0, 1))
    # Captions and prompts pass their projection together: it normalises over all of them.
    texts = model.project_texts(features).reshape(*batch.said.shape, -1)
    captions, words = gather(texts[:, :1].contiguous()), gather(texts[:, 1:].contiguous())
    true = _belongs(gather(batch.held), gather(batch.said)) if share else None
    of_captions, of_words = model.scales()
    found = {
        "captions": contrastive(images, captions, of_captions, _part(true, slice(0, 1))),
    }
    loss = found["captions"]
    if words.shape[1] and weight:
        found["words"] = contrastive(images, words, of_words, _part(true, slice(1, None)))
        loss = loss + weight * found["words"]
    if presence_weight and seen.assignments:
        found["presence"] = presence(seen.assignments)
        loss = loss + presence_weight * found["presence"]
    return {"loss": loss, **found}


def _belongs(held: Tensor, said: Tensor) -> Tensor:
    """Which texts (N, K) are among those held (N, M) by each image: (N, N, K)."""
    return torch.stack([torch.isin(said, row) for row in held])


def _part(belongs: Tensor | None, which: slice) -> Tensor | None:
    return None if belongs is None else belongs[:, :, which]
