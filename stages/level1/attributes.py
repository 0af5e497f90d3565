"""Attributes of objects: zero-shot choice among words, for example colours, on crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline.columns import ATTRIBUTES, INSTANCES
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Attribute, Instance
from stages import hub, zero_shot
from stages.crops import crop
from stages.texts import check_template, distinct, fill, plain
from stages.zero_shot import ZeroShot

COLORS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "gray",
)


@dataclass(frozen=True, kw_only=True)
class Attributes(Stage[ZeroShot]):
    """The word that fits an object best, where the model is sure enough of it."""

    level: ClassVar[int] = 1

    source: str
    """Name of the attribute model in the column."""
    words: tuple[str, ...] = COLORS
    """Words that exclude each other; one of them is chosen."""
    model: str = "openai/clip-vit-large-patch14-336"
    """Hub id, folder or `embedded:` name of a CLIP or SigLIP checkpoint."""
    dtype: hub.Dtype = "float32"
    """Number format of the model: float32, bfloat16 or float16."""
    template: str = "a photo of a {} {}"
    """Text put to the model. With two `{}`: the word and the object's label; with one: the word."""
    threshold: float = 0.3
    """Least probability of the best word among all words."""
    stuff: bool = False
    """Give attributes to stuff (sky, grass) too."""
    margin: float = 0.0
    """The crop is the object's box widened by this share of its sides."""

    def __post_init__(self) -> None:
        check_template(self.template, 2 if self.template.count("{}") == 2 else 1)
        if not self.words:
            raise ValueError("option 'words' is empty; give the words to choose among")

    @property
    def reads(self) -> Reads:
        """Objects."""
        return (INSTANCES,)

    @property
    def writes(self) -> Writes:
        """At most one attribute per object."""
        return (ATTRIBUTES.of(self.source),)

    def load(self, device: str) -> ZeroShot:
        """The model."""
        return zero_shot.load(self.model, device, self.dtype)

    def annotate(self, model: ZeroShot, records: Sequence[Record]) -> list[Row]:
        """Attributes of every image; the crops of all images are encoded together."""
        asked = [
            (n, instance)
            for n, record in enumerate(records)
            for instance in record[INSTANCES]
            if self.stuff or instance.kind != "stuff"
        ]
        found: list[list[Attribute]] = [[] for _ in records]
        if asked:
            crops = [crop(records[n].image, item.box, self.margin) for n, item in asked]
            embedded = model.images(crops)
            for row, (n, instance) in enumerate(asked):
                chances = model.choice(embedded[row : row + 1], model.texts(self._texts(instance)))
                best = int(chances[0].argmax())
                if float(chances[0, best]) >= self.threshold:
                    word = self._words()[best]
                    found[n].append(Attribute(instance.id, self.source, word))
        return [{ATTRIBUTES.of(self.source): tuple(attributes)} for attributes in found]

    def _words(self) -> tuple[str, ...]:
        return distinct(self.words)

    def _texts(self, instance: Instance) -> list[str]:
        if self.template.count("{}") == 1:
            return [fill(self.template, word) for word in self._words()]
        noun = self._noun(instance.label)
        return [fill(self.template, word, noun) for word in self._words()]

    def _noun(self, label: str) -> str:
        """The label without attribute words: a "red car" must not become a "blue red car"."""
        words = {word.lower() for word in self.words}
        return " ".join(w for w in plain(label).split() if w.lower() not in words) or "object"
