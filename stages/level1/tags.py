"""Image tags: a list of words scored by a CLIP or SigLIP, or by a tagger of the RAM family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from grand_pipeline.columns import TAGS
from grand_pipeline.errors import SettingsError
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import BoolArray, FloatArray, Tag
from stages import hub, ram, zero_shot
from stages.ram import Tagger
from stages.texts import check_template, distinct, fill
from stages.zero_shot import ZeroShot


@dataclass(frozen=True, kw_only=True)
class Tags(Stage[ZeroShot | Tagger]):
    """Image-level labels. RAM, RAM++, Tag2Text and SigLIP judge every word by itself; with a CLIP
    the words compete."""

    level: ClassVar[int] = 1

    source: str
    """Name of the tagger in the column and in every tag."""
    vocabulary: tuple[str, ...]
    """Words that can become tags; `file:PATH` among them stands for the lines of that file. RAM,
    RAM++ and Tag2Text: the published list of their tags, in its order."""
    model: str = "google/siglip-base-patch16-224"
    """Hub id, folder or `embedded:` name of a CLIP or SigLIP checkpoint, `open_clip:` and a hub id
    or folder, or the published `.pth` file of RAM, RAM++ or Tag2Text."""
    dtype: hub.Dtype = "float32"
    """Number format of the model: float32, bfloat16 or float16."""
    template: str = "a photo of a {}"
    """Text put to a CLIP or SigLIP; `{}` is the word."""
    threshold: float = 0.1
    """Least score. RAM, Tag2Text, SigLIP: probability of the word; the authors of RAM and Tag2Text
    have 0.68 where there is no list. CLIP: share of the best word's probability."""
    thresholds: tuple[float, ...] = ()
    """Least score per word, in the order of `vocabulary`, instead of `threshold`; `file:PATH`
    stands for the numbers in that file. RAM and RAM++ are published with such a list."""
    top_k: int = 20
    """Most tags of an image."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)
        if not self.vocabulary:
            raise ValueError("option 'vocabulary' is empty; give the words that can become tags")
        if self.thresholds and len(self.thresholds) != len(self.vocabulary):
            raise ValueError(
                f"option 'thresholds' has {len(self.thresholds)} numbers for the "
                f"{len(self.vocabulary)} words of 'vocabulary'; give one per word, in its order"
            )

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """Tags, best first."""
        return (TAGS.of(self.source),)

    def load(self, device: str) -> ZeroShot | Tagger:
        """The model; a CLIP or SigLIP with the texts of the vocabulary already encoded.

        Raises SettingsError if a tagger has not as many tags as there are words.
        """
        if ram.is_checkpoint(self.model):
            return self._tagger(device)
        model = zero_shot.load(self.model, device, self.dtype)
        model.remember(_texts(self.vocabulary, self.template))
        return model

    def annotate(self, model: ZeroShot | Tagger, records: Sequence[Record]) -> list[Row]:
        """Tags of every image."""
        images = [record.image for record in records]
        column = TAGS.of(self.source)
        if isinstance(model, Tagger):
            found = model.chances(images)
            # The published rule; a threshold of 1 says that a tag is never given.
            kept = found > self._least().astype(np.float32)
            words = self.vocabulary
        else:
            places = _places(self.vocabulary)
            words = tuple(self.vocabulary[place] for place in places)
            logits = model.logits(
                model.images(images), model.texts(_texts(self.vocabulary, self.template))
            )
            chances = logits.sigmoid() if model.sigmoid else logits.softmax(dim=-1)
            found = chances.cpu().numpy()
            best = 1.0 if model.sigmoid else found.max(axis=1, keepdims=True)
            kept = found >= self._least()[list(places)] * best
        return [{column: self._tags(words, *pair)} for pair in zip(found, kept, strict=True)]

    def _tagger(self, device: str) -> Tagger:
        model = ram.load(self.model, device, self.dtype)
        if model.design.tags != len(self.vocabulary):
            raise SettingsError(
                f"stage '{self.key}': the vocabulary has {len(self.vocabulary)} words, but "
                f"'{self.model}' knows {model.design.tags} tags; give the list published with it, "
                "whole and in its order"
            )
        return model

    def _least(self) -> FloatArray:
        return np.array(self.thresholds or [self.threshold] * len(self.vocabulary))

    def _tags(self, words: Sequence[str], chances: FloatArray, kept: BoolArray) -> tuple[Tag, ...]:
        order = np.argsort(-chances, kind="stable")
        order = order[kept[order]]
        # The list of Tag2Text has words twice, as noun and as verb; the better one counts.
        first = {words[place]: place for place in order[::-1]}
        best = distinct(words[place] for place in order)[: self.top_k]
        return tuple(Tag(word, float(chances[first[word]]), self.source) for word in best)


# Lists have thousands of words, and every batch asks for them.
@lru_cache(maxsize=4)
def _places(vocabulary: tuple[str, ...]) -> tuple[int, ...]:
    """Where each word stands first; a CLIP would give half to each of two that read the same."""
    first = {word: place for place, word in reversed(list(enumerate(vocabulary)))}
    return tuple(first[word] for word in distinct(vocabulary))


@lru_cache(maxsize=4)
def _texts(vocabulary: tuple[str, ...], template: str) -> tuple[str, ...]:
    return tuple(fill(template, vocabulary[place]) for place in _places(vocabulary))
