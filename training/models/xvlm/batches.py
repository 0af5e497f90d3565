"""What X-VLM is shown: pictures with captions, and pictures with texts about boxes in them.

Half of the pictures of a batch come as image-text pairs, half with boxes (section 4.2), each with
the augmentation of the published code: any crop for the first, one round a box for the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice, zip_longest
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image

from grand_pipeline import geometry
from grand_pipeline.types import FloatArray
from training.data import transforms, views
from training.data.filters import filtered, normalized
from training.data.rows import Row
from training.models.xvlm.losses import IGNORED
from training.models.xvlm.masking import PAPER, Ids, Masking, hide
from training.models.xvlm.network import patches_in
from training.models.xvlm.objective import Batch

MEAN, STD = transforms.CLIP_MEAN, transforms.CLIP_STD
WHOLE = (0.5, 0.5, 1.0, 1.0)
"""The box of a concept that is the image itself."""


@dataclass(frozen=True)
class View:
    """How pictures and texts are shown.

    `side` pixels of a picture; `tokens` of a text at most; `scale` the area of a crop of a
    captioned picture; `flip` how often one is mirrored (left and right change in its texts too);
    `color_ops` of RandAugment, of strength `magnitude`; `texts` of a picture with boxes at most;
    `object` and `region`: whether texts about objects, and about phrases and relations, are shown;
    `captions`: whether one of its captions is shown with a picture with boxes.
    """

    side: int = 224
    tokens: int = 30
    scale: tuple[float, float] = (0.2, 1.0)
    flip: float = 0.5
    color_ops: int = 2
    magnitude: int = 7
    texts: int = 5
    object: bool = True
    region: bool = True
    captions: bool = True
    masking: Masking = PAPER


@dataclass(frozen=True)
class Text:
    """A text about a box (cxcywh in fractions): its tokens, those to read and those to guess."""

    tokens: Ids
    hidden: Ids
    labels: Ids
    group: int
    box: tuple[float, ...] = WHOLE


@dataclass(frozen=True)
class Sample:
    """A picture, float32 (3, S, S), with at least one text."""

    image_id: str
    pixels: FloatArray
    texts: tuple[Text, ...]


@dataclass(frozen=True)
class Words:
    """A tokenizer, what it is asked for, and the tokens of its vocabulary that are not special."""

    tokenizer: Any
    view: View
    ordinary: tuple[int, ...]

    def read(self, text: str) -> Ids | None:
        """Tokens of a text, [CLS] first and without [SEP]; None if nothing of it is left."""
        made = self._made(text)["input_ids"][:-1]
        return np.array(made, np.int64) if len(made) > 1 else None

    def masked(self, text: str, box: Sequence[float], rng: Generator) -> Text | None:
        """A text to train on; None if nothing of it is left."""
        made = self._made(text)
        tokens, words = made["input_ids"][:-1], made.word_ids()[:-1]
        if len(tokens) < 2:
            return None
        mask = self.tokenizer.mask_token_id
        hidden, labels = hide(tokens, words, self.ordinary, mask, self.view.masking, rng)
        return Text(
            np.array(tokens, np.int64), hidden, labels, _group(normalized(text)), tuple(box)
        )

    def _made(self, text: str) -> Any:
        # One more than is kept: the closing token.
        return self.tokenizer(normalized(text), truncation=True, max_length=self.view.tokens + 1)


def words(tokenizer: Any, view: View) -> Words:
    """How `tokenizer` reads texts."""
    special = set(tokenizer.all_special_ids)
    return Words(tokenizer, view, tuple(i for i in range(len(tokenizer)) if i not in special))


def captioned(row: Row, rng: Generator, *, words: Words) -> Sample | None:
    """A picture with one of its captions; None without captions."""
    view = words.view
    shown = transforms.random_resized_crop(row, rng, (view.side, view.side), view.scale)
    shown = transforms.random_flip(shown, rng, view.flip)
    text = _one_caption(shown, words, rng)
    return _sample(shown, [text], view, rng) if text else None


def boxed(row: Row, rng: Generator, *, words: Words) -> Sample | None:
    """A picture with texts about boxes in it, and one of its captions; None without any text.

    Where neither objects nor regions are wanted, it has captions alone.
    """
    view = words.view
    elements = _elements(row, view)
    shown = row
    if elements:
        chosen = elements[int(rng.integers(len(elements)))]
        shown = transforms.random_crop_around(row, rng, chosen.box)
    shown = transforms.random_flip(shown, rng, view.flip)
    shown = transforms.resize(shown, (view.side, view.side))
    found = list(_elements(shown, view))
    order = rng.permutation(len(found))[: view.texts - view.captions]
    boxes = transforms.relative_boxes(geometry.as_boxes([found[i].box for i in order]), shown.size)
    texts = [
        words.masked(found[i].text, box.tolist(), rng) for i, box in zip(order, boxes, strict=True)
    ]
    captions = (1 if found else view.texts) if view.captions else 0
    texts += [_one_caption(shown, words, rng) for _ in range(captions)]
    held = [text for text in texts if text]
    order = rng.permutation(len(held))
    return _sample(shown, [held[i] for i in order], view, rng) if held else None


def collate(pairs: Sequence[Sample], regions: Sequence[Sample], rows: int, grid: int) -> Batch:
    """A batch of all pictures: the texts of `pairs`, and `rows` of those of `regions`.

    Texts are taken in turns, one of each picture; where there are too few, some come again. So all
    batches, and those of all ranks, have equally many.
    """
    samples = [*pairs, *regions]
    taken = [(place, text) for place, sample in enumerate(pairs) for text in sample.texts]
    if regions:
        turns = zip_longest(
            *(
                [(len(pairs) + place, text) for text in sample.texts]
                for place, sample in enumerate(regions)
            )
        )
        taken += islice(cycle([pair for pair in chain(*turns) if pair]), rows)
    boxes = torch.tensor([text.box for _, text in taken])
    tokens, mask = padded([text.tokens for _, text in taken])
    return Batch(
        pixels=torch.from_numpy(np.stack([sample.pixels for sample in samples])),
        image=torch.tensor([place for place, _ in taken]),
        boxes=boxes,
        is_image=(boxes == torch.tensor(WHOLE)).all(1),
        inside=patches_in(boxes, grid),
        tokens=tokens,
        mask=mask,
        hidden=_padded([text.hidden for _, text in taken], 0),
        labels=_padded([text.labels for _, text in taken], IGNORED),
        groups=torch.tensor([text.group for _, text in taken]),
        ids=tuple(sample.image_id for sample in samples),
    )


def pictures(images: Sequence[Image.Image], side: int) -> torch.Tensor:
    """Whole pictures (n, 3, side, side), as a trained model is shown them."""
    small = [image.resize((side, side), Image.Resampling.BICUBIC) for image in images]
    shown = [transforms.normalize(np.asarray(one), MEAN, STD) for one in small]
    return torch.from_numpy(np.stack(shown))


def padded(rows: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (R, L) of texts and their mask (R, L)."""
    return _padded(rows, 0), _padded([np.ones(len(row), np.int64) for row in rows], 0)


def _elements(row: Row, view: View) -> tuple[views.Region, ...]:
    """Texts about boxes that are wanted and pass the filters of the paper's section 4.1."""
    wanted = [
        region
        for region in views.region_text(row)
        if (view.object if region.kind == "object" else view.region)
    ]
    return filtered(wanted, row.size).kept


def _one_caption(row: Row, words: Words, rng: Generator) -> Text | None:
    captions = views.image_caption(row)
    if not captions:
        return None
    return words.masked(captions[int(rng.integers(len(captions)))].text, WHOLE, rng)


def _sample(row: Row, texts: Sequence[Text], view: View, rng: Generator) -> Sample:
    pixels = row.pixels()
    if view.color_ops:
        pixels = transforms.random_color_ops(pixels, rng, view.color_ops, view.magnitude)
    return Sample(row.image_id, transforms.normalize(pixels, MEAN, STD), tuple(texts))


def _group(text: str) -> int:
    """A number that equal texts share, on every rank."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _padded(rows: Sequence[Ids], value: int) -> torch.Tensor:
    """(R, L) with `value` after the end of shorter rows."""
    table = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(table)
