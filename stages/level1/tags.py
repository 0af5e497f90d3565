"""Image tags: zero-shot scores of a list of words by a CLIP or SigLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grand_pipeline.columns import TAGS
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import FloatArray, Tag
from stages import zero_shot
from stages.texts import check_template, distinct, fill
from stages.zero_shot import ZeroShot


@dataclass(frozen=True, kw_only=True)
class Tags(Stage[ZeroShot]):
    """Image-level labels. A SigLIP judges every word by itself; with a CLIP the words compete."""

    level: ClassVar[int] = 1

    source: str
    """Name of the tagger in the column and in every tag."""
    vocabulary: tuple[str, ...]
    """Words that can become tags."""
    model: str = "google/siglip-base-patch16-224"
    """Hub id, folder or `embedded:` name of a CLIP or SigLIP checkpoint."""
    template: str = "a photo of a {}"
    """Text put to the model; `{}` is the word."""
    threshold: float = 0.1
    """Least score. SigLIP: probability of the word. CLIP: share of the best word's probability."""
    top_k: int = 20
    """Most tags of an image."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)
        if not self.vocabulary:
            raise ValueError("option 'vocabulary' is empty; give the words that can become tags")

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """Tags, best first."""
        return (TAGS.of(self.source),)

    def load(self, device: str) -> ZeroShot:
        """The model with the texts of the vocabulary already encoded."""
        model = zero_shot.load(self.model, device)
        model.remember(self._texts())
        return model

    def annotate(self, model: ZeroShot, records: Sequence[Record]) -> list[Row]:
        """Tags of every image."""
        logits = model.logits(
            model.images([record.image for record in records]), model.texts(self._texts())
        )
        chances = logits.sigmoid() if model.sigmoid else logits.softmax(dim=-1)
        column = TAGS.of(self.source)
        return [
            {column: self._tags(row, relative=not model.sigmoid)} for row in chances.cpu().numpy()
        ]

    def _words(self) -> tuple[str, ...]:
        return distinct(self.vocabulary)

    def _texts(self) -> list[str]:
        return [fill(self.template, word) for word in self._words()]

    def _tags(self, chances: FloatArray, *, relative: bool) -> tuple[Tag, ...]:
        words = self._words()
        least = self.threshold * float(chances.max()) if relative else self.threshold
        best = np.argsort(-chances, kind="stable")[: self.top_k]
        return tuple(
            Tag(words[i], float(chances[i]), self.source) for i in best if chances[i] >= least
        )
