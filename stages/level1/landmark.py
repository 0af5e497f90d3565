"""The kind of place: a category and one of its finer categories, zero-shot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grand_pipeline.columns import LANDMARK
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import FloatArray, Landmark
from stages import zero_shot
from stages.texts import check_template, fill
from stages.zero_shot import ZeroShot

CATEGORIES: dict[str, tuple[str, ...]] = {
    "Indoor scene": ("Living space", "Work space", "Public space", "Industrial space"),
    "Outdoor scene": ("Urban", "Rural", "Natural landscape"),
    "Transportation scene": ("Road", "Airport", "Train station", "Port and harbor"),
    "Sports and recreation scene": (
        "Sporting venue",
        "Recreational area",
        "Gym and fitness center",
    ),
}
"""The taxonomy of the GLaMM supplement, Table 7."""


@dataclass(frozen=True, kw_only=True)
class LandmarkStage(Stage[ZeroShot]):
    """First the category, then the finer category among those of the chosen one."""

    level: ClassVar[int] = 1

    model: str = "openai/clip-vit-large-patch14-336"
    """Hub id, folder or `embedded:` name of a CLIP or SigLIP checkpoint."""
    template: str = "a photo of a {}"
    """Text for a category; `{}` is its name in lower case."""
    fine_template: str = "a photo of a {}"
    """Text for a finer category; `{}` is its name in lower case."""
    joint: bool = False
    """Choose the pair with the highest product of both probabilities, so that a sure finer
    category can overrule an unsure category. False: the category is settled first."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)
        check_template(self.fine_template, 1)

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """The landmark."""
        return (LANDMARK,)

    def load(self, device: str) -> ZeroShot:
        """The model with all texts already encoded."""
        model = zero_shot.load(self.model, device)
        for texts in self._texts():
            model.remember(texts)
        return model

    def annotate(self, model: ZeroShot, records: Sequence[Record]) -> list[Row]:
        """One landmark per image."""
        images = model.images([record.image for record in records])
        coarse, fine = (
            model.logits(images, model.texts(texts)).double().cpu().numpy()
            for texts in self._texts()
        )
        return [{LANDMARK: self._landmark(*pair)} for pair in zip(coarse, fine, strict=True)]

    def _texts(self) -> tuple[list[str], list[str]]:
        coarse = [fill(self.template, name.lower()) for name in CATEGORIES]
        names = (name for group in CATEGORIES.values() for name in group)
        return coarse, [fill(self.fine_template, name.lower()) for name in names]

    def _landmark(self, coarse: FloatArray, fine: FloatArray) -> Landmark:
        category_chances = _softmax(coarse)
        ends = np.cumsum([len(group) for group in CATEGORIES.values()])
        groups = [_softmax(part) for part in np.split(fine, ends[:-1])]
        if self.joint:
            best = [c * g.max() for c, g in zip(category_chances, groups, strict=True)]
            chosen = int(np.argmax(best))
        else:
            chosen = int(np.argmax(category_chances))
        category = list(CATEGORIES)[chosen]
        return Landmark(
            category, CATEGORIES[category][int(np.argmax(groups[chosen]))], source=self.model
        )


def _softmax(logits: FloatArray) -> FloatArray:
    chances = np.exp(logits - logits.max())
    return np.asarray(chances / chances.sum())
