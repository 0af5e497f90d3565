"""The objective of X-VLM on one batch (equation 8), and which of its terms are wanted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.models.xvlm import losses
from training.models.xvlm.network import (
    COOLEST,
    HOTTEST,
    Concepts,
    Fused,
    Texts,
    Xvlm,
    regions,
    whole,
)


@dataclass(frozen=True)
class Batch:
    """I images and R pairs of a concept in one of them and a text of L tokens about it.

    pixels (I, 3, S, S); image (R,) whose concept; boxes (R, 4) cxcywh in fractions, (.5, .5, 1, 1)
    for a whole image; is_image (R,) whether it is one; inside (R, T) its patches; tokens and mask
    (R, L); hidden (R, L) tokens with words masked; labels (R, L) the masked ones, elsewhere -100;
    groups (R,) equal where texts are equal; ids: the images, for messages.
    """

    pixels: Tensor
    image: Tensor
    boxes: Tensor
    is_image: Tensor
    inside: Tensor
    tokens: Tensor
    mask: Tensor
    hidden: Tensor
    labels: Tensor
    groups: Tensor
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Terms:
    """Which terms are summed: `align` for contrastive, matching and masked words, `box` for both
    terms of the box; `exact` as in `losses.gathered`."""

    align: bool = True
    box: bool = True
    exact: bool = True


def freeze_unused(model: Xvlm, terms: Terms) -> None:
    """Freeze, in place, the heads that no term reaches: under DDP they would be waited for."""
    if not terms.box:
        model.box_head.requires_grad_(False)
    if not terms.align:
        aligned = ("match_head.", "word_", "concept_projection.", "text_projection.", "temperature")
        for name, parameter in model.named_parameters():
            if name.startswith(aligned):
                parameter.requires_grad_(False)


def objective(model: Xvlm, batch: Batch, terms: Terms) -> dict[str, Tensor]:
    """The wanted terms as named scalars; "loss" is their sum (all weights are 1)."""
    found: dict[str, Tensor] = {}
    patches = model.see(batch.pixels)[batch.image]
    texts = model.read(batch.tokens, batch.mask)
    if terms.align:
        found |= _alignment(model, regions(patches, batch.inside), texts, batch, terms.exact)
    if terms.box:
        # A box is sought in the whole image; a whole image has none to be sought.
        held = (~batch.is_image).nonzero()[:, 0]
        located = model.locate(model.fuse(texts.take(held), whole(patches[held])))
        distance, overlap = losses.boxes(located, batch.boxes[held])
        found |= {"box_l1": distance, "box_giou": overlap}
    return {"loss": torch.stack(list(found.values())).sum(), **found}


def _alignment(
    model: Xvlm, concepts: Concepts, texts: Texts, batch: Batch, exact: bool
) -> dict[str, Tensor]:
    with torch.no_grad():
        model.temperature.clamp_(COOLEST, HOTTEST)
    seen, said = model.project(concepts, texts)
    contrastive = losses.contrastive(
        losses.gathered(seen, exact=exact),
        losses.gathered(said, exact=exact),
        model.temperature,
        losses.gathered(batch.groups),
    )
    concept, text = losses.hard_negatives(seen, said, model.temperature, batch.groups)
    every = torch.arange(len(batch.tokens), device=batch.tokens.device)
    # A row that nothing differs from has no negative, and would be called one itself.
    false_concept, false_text = every[concept != every], every[text != every]
    concept_of = torch.cat([every, concept[false_concept], false_text])
    text_of = torch.cat([every, false_concept, text[false_text]])
    pairs = len(text_of)
    hidden = model.read(batch.hidden, batch.mask)
    # One pass for pairs and for masked texts.
    fused = model.fuse(
        Texts(
            torch.cat([texts.states[text_of], hidden.states]),
            torch.cat([texts.mask[text_of], hidden.mask]),
        ),
        concepts.take(torch.cat([concept_of, every])),
    )
    matched = torch.arange(pairs, device=every.device) < len(every)
    known = batch.labels != losses.IGNORED
    guesses = model.guess(fused.states[pairs:][known])
    return {
        "contrastive": contrastive,
        "matching": losses.matching(model.match(Fused(fused.states[:pairs])), matched),
        "words": losses.masked_words(guesses, batch.labels[known]),
    }
