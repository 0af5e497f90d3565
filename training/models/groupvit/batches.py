"""What GroupViT is shown: pictures with a caption, and prompts with words of the picture.

Words are the head nouns of the phrases that the run has grounded in what the view shows. (The
published code takes nouns and verbs of the caption by a tagger of its own.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from grand_pipeline import labels
from grand_pipeline.types import FloatArray
from training.data import transforms, views
from training.data.rows import Row
from training.models.groupvit.objective import NOTHING, Batch

MEAN, STD = transforms.IMAGENET_MEAN, transforms.IMAGENET_STD
Ids = NDArray[np.int64]
_HELD = 32
"""Most texts that a picture is known to agree with; a fixed number, alike on all ranks."""


@dataclass(frozen=True)
class View:
    """How pictures and texts are shown.

    `side` pixels of a picture; `tokens` of a text at most; `scale` the area of a crop; `flip` how
    often a picture is mirrored; `color_ops` of RandAugment, of strength `magnitude`; `words` of a
    picture that are drawn, each put into one of the `prompts` in place of "{}".
    """

    side: int
    tokens: int
    scale: tuple[float, float]
    flip: float
    color_ops: int
    magnitude: int
    words: int
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """A picture, float32 (3, S, S), its caption and prompts as tokens, the number of what each
    says, and the numbers of all that is said of the picture."""

    image_id: str
    pixels: FloatArray
    texts: tuple[Ids, ...]
    said: tuple[int, ...]
    held: tuple[int, ...]


def sample(row: Row, rng: Generator, *, tokenizer: Any, view: View) -> Sample | None:
    """A random part of a picture with one of its captions; None without captions.

    Where the view shows fewer words than are asked for, the caption stands in for the others.
    """
    shown = transforms.random_resized_crop(row, rng, (view.side, view.side), view.scale)
    shown = transforms.random_flip(shown, rng, view.flip)
    captions = views.image_caption(shown)
    if not captions:
        return None
    caption = captions[int(rng.integers(len(captions)))].text
    nouns = words(shown)
    drawn = [nouns[n] for n in rng.permutation(len(nouns))[: view.words]]
    # A prompt says the same as any other of its word, whatever stands around it.
    texts = [_prompt(noun, view.prompts, rng) for noun in drawn]
    missing = view.words - len(drawn)
    said = [caption, *drawn, *[caption] * missing]
    pixels = shown.pixels()
    if view.color_ops:
        pixels = transforms.random_color_ops(pixels, rng, view.color_ops, view.magnitude)
    return Sample(
        row.image_id,
        transforms.normalize(pixels, MEAN, STD),
        tuple(tokens(tokenizer, t, view.tokens) for t in [caption, *texts, *[caption] * missing]),
        tuple(number(text) for text in said),
        tuple(number(text) for text in dict.fromkeys([*said, *nouns, *(c.text for c in captions)])),
    )


def words(row: Row) -> tuple[str, ...]:
    """Head nouns of the phrases about what the view shows, in the singular, each once."""
    found = (
        core.split()[-1] for thing in views.referring(row) for core in labels.heads(thing.text)
    )
    return tuple(dict.fromkeys(labels.singular(word) for word in found))


def tokens(tokenizer: Any, text: str, most: int) -> Ids:
    """Tokens of a text, the opening and the closing one among them."""
    made = tokenizer(text.lower(), truncation=True, max_length=most)["input_ids"]
    return np.array(made, np.int64)


def number(text: str) -> int:
    """A number that equal texts share, on every rank."""
    digest = hashlib.sha256(text.lower().encode()).digest()
    return int.from_bytes(digest[:7], "big")


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch of samples with equally many texts each."""
    length = max(len(text) for one in samples for text in one.texts)
    shape = (len(samples), len(samples[0].texts), length)
    table, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    held = np.full((len(samples), _HELD), NOTHING, np.int64)
    for place, one in enumerate(samples):
        for at, text in enumerate(one.texts):
            table[place, at, : len(text)], mask[place, at, : len(text)] = text, 1
        held[place, : len(one.held)] = one.held[:_HELD]
    return Batch(
        pixels=torch.from_numpy(np.stack([one.pixels for one in samples])),
        tokens=torch.from_numpy(table),
        mask=torch.from_numpy(mask),
        said=torch.tensor([one.said for one in samples]),
        held=torch.from_numpy(held),
        ids=tuple(one.image_id for one in samples),
    )


def _prompt(noun: str, prompts: Sequence[str], rng: Generator) -> str:
    return prompts[int(rng.integers(len(prompts)))].replace("{}", noun)
