"""Which words of a text are hidden for masked language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.models.xvlm.losses import IGNORED

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Masking:
    """`share` of the tokens is masked, at least one. With `whole_words` all tokens of a word or
    none, at most `most` of them, and with probability `spans` two or three words in a row."""

    share: float = 0.25
    whole_words: bool = False
    most: int = 1_000
    spans: float = 0.0


PAPER = Masking()
"""Section 3.3: every token with a probability of 25 %."""
RELEASE = Masking(whole_words=True, most=8, spans=0.2)
"""The published code."""


def hide(
    ids: Sequence[int],
    words: Sequence[int | None],
    vocabulary: Sequence[int],
    mask: int,
    masking: Masking,
    rng: np.random.Generator,
) -> tuple[Ids, Ids]:
    """Mask words of one text: 80 % become the mask, 10 % another token, 10 % stay.

    Args:
        ids: (L,) token ids.
        words: (L,) number of the word that a token is of; None for special tokens, never masked.
        vocabulary: ids that a random token is drawn from.
        mask: id of the mask.

    Returns:
        Ids (L,) to read, and labels (L,): the masked tokens, elsewhere -100.
    """
    places: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        if word is not None:
            places.setdefault(word if masking.whole_words else place, []).append(place)
    chosen = _chosen(list(places.values()), masking, rng)
    read = np.array(ids, np.int64)
    labels = np.full(len(read), IGNORED, np.int64)
    labels[chosen] = read[chosen]
    for place, pick in zip(chosen, rng.random(len(chosen)), strict=True):
        if pick < 0.8:
            read[place] = mask
        elif pick < 0.9:
            read[place] = vocabulary[int(rng.integers(len(vocabulary)))]
    return read, labels


def _chosen(units: list[list[int]], masking: Masking, rng: np.random.Generator) -> list[int]:
    """Places of the tokens to be masked; `units` are masked whole."""
    if not units:
        return []
    if not masking.whole_words:
        drawn = rng.random(len(units)) < masking.share
        drawn[int(rng.integers(len(units)))] |= not drawn.any()
        return [place for unit, hit in zip(units, drawn, strict=True) if hit for place in unit]
    tokens = sum(map(len, units))
    wanted = min(masking.most, max(1, round(masking.share * tokens)))
    chosen: set[int] = set()
    for first in rng.permutation(len(units)):
        length = int(rng.integers(2, 4)) if rng.random() < masking.spans else 1
        new = {place for unit in units[first : first + length] for place in unit} - chosen
        if not chosen and len(new) > wanted:
            new = set(units[first])  # a first word is masked however long it is: never none at all
        if not chosen or len(chosen) + len(new) <= wanted:
            chosen |= new
        if len(chosen) >= wanted:
            break
    return sorted(chosen)
