"""The label of an object, chosen among its votes by comparing its crop with the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline.columns import ASSIGNED, INSTANCES
from grand_pipeline.labels import normalize
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import AssignedLabel, Instance
from stages import hub, zero_shot
from stages.crops import crop
from stages.texts import check_template, distinct, fill
from stages.zero_shot import ZeroShot


@dataclass(frozen=True, kw_only=True)
class Labels(Stage[ZeroShot]):
    """One label per object. With a single candidate nothing is asked and the score is 1."""

    level: ClassVar[int] = 2

    model: str = "openai/clip-vit-large-patch14-336"
    """Hub id, folder or `embedded:` name of a CLIP or SigLIP checkpoint, or `open_clip:` and a hub
    id or folder, for example open_clip:timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k."""
    dtype: hub.Dtype = "float32"
    """Number format of the model: float32, bfloat16 or float16."""
    template: str = "a photo of a {}"
    """Text put to the model; `{}` is the label."""
    margin: float = 0.0
    """The crop is the object's box widened by this share of its sides."""
    vote_weight: float = 0.0
    """Weight of the votes against the crop: a candidate's probability is multiplied by the sum
    of its votes' scores (1 for a vote without one) to this power."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)

    @property
    def reads(self) -> Reads:
        """Objects with their votes."""
        return (INSTANCES,)

    @property
    def writes(self) -> Writes:
        """One label per object, in the order of the objects."""
        return (ASSIGNED,)

    def load(self, device: str) -> ZeroShot:
        """The model."""
        return zero_shot.load(self.model, device, self.dtype)

    def annotate(self, model: ZeroShot, records: Sequence[Record]) -> list[Row]:
        """Labels of every image; the crops of all images are encoded together."""
        unsure = [
            (n, instance)
            for n, record in enumerate(records)
            for instance in record[INSTANCES]
            if len(candidates(instance)) > 1
        ]
        chosen: dict[tuple[int, int], AssignedLabel] = {}
        if unsure:
            crops = [crop(records[n].image, item.box, self.margin) for n, item in unsure]
            embedded = model.images(crops)
            for row, (n, instance) in enumerate(unsure):
                texts = [fill(self.template, label) for label in candidates(instance)]
                chances = model.choice(embedded[row : row + 1], model.texts(texts))[0].tolist()
                chosen[n, instance.id] = self._choose(instance, chances)
        return [
            {
                ASSIGNED: tuple(
                    chosen.get((n, i.id), AssignedLabel(i.id, candidates(i)[0], 1.0))
                    for i in record[INSTANCES]
                )
            }
            for n, record in enumerate(records)
        ]

    def _choose(self, instance: Instance, chances: Sequence[float]) -> AssignedLabel:
        labels = candidates(instance)
        weighed = [
            chance * support(instance, label) ** self.vote_weight
            for chance, label in zip(chances, labels, strict=True)
        ]
        best = max(range(len(labels)), key=weighed.__getitem__)
        total = sum(weighed) or 1.0
        return AssignedLabel(instance.id, labels[best], weighed[best] / total)


def candidates(instance: Instance) -> tuple[str, ...]:
    """Labels to choose among: the votes' in normal form, each once, or the object's own label."""
    return distinct(normalize(vote.label) for vote in instance.votes) or (instance.label,)


def support(instance: Instance, label: str) -> float:
    """Sum of the scores of the votes that say `label`; a vote without a score counts 1."""
    same = (vote for vote in instance.votes if normalize(vote.label) == normalize(label))
    return sum(1.0 if vote.score is None else vote.score for vote in same)
