"""GranD's label assignment: the voted word that fits the crop best, people made persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from grand_pipeline.columns import ASSIGNED, INSTANCES
from grand_pipeline.grand_v1 import people, voting
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import AssignedLabel, Instance
from stages import hub, zero_shot
from stages.crops import crop
from stages.texts import check_template
from stages.zero_shot import ZeroShot


@dataclass(frozen=True, kw_only=True)
class GrandV1Labels(Stage[ZeroShot]):
    """One label per object. With one candidate nothing is asked and the score is 1."""

    level: ClassVar[int] = 2

    model: str = "openai/clip-vit-large-patch14-336"
    """Hub id, folder or `embedded:` name of a CLIP or SigLIP checkpoint."""
    dtype: hub.Dtype = "float32"
    """Number format of the model: float32, bfloat16 or float16."""
    template: str = "{}"
    """Text put to the model; `{}` is the label as its detector spelt it."""
    describers: tuple[str, ...] = ("grit",)
    """Sources whose votes are texts and no labels."""
    defects: tuple[Literal["D13"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    def __post_init__(self) -> None:
        check_template(self.template, 1)

    @property
    def reads(self) -> Reads:
        return (INSTANCES,)

    @property
    def writes(self) -> Writes:
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
            if len(self.candidates(instance)) > 1
        ]
        chosen: dict[tuple[int, int], tuple[str, float]] = {}
        if unsure:
            embedded = model.images([crop(records[n].image, item.box) for n, item in unsure])
            for row, (n, instance) in enumerate(unsure):
                labels = self.candidates(instance)
                texts = model.texts([self.template.replace("{}", label) for label in labels])
                chances = model.choice(embedded[row : row + 1], texts)[0].tolist()
                best = max(range(len(labels)), key=chances.__getitem__)
                chosen[n, instance.id] = labels[best], chances[best]
        return [
            {
                ASSIGNED: tuple(
                    self._assigned(i, *chosen.get((n, i.id), (self.candidates(i)[0], 1.0)))
                    for i in record[INSTANCES]
                )
            }
            for n, record in enumerate(records)
        ]

    def candidates(self, instance: Instance) -> tuple[str, ...]:
        """Labels to choose among, as the detectors spelt them; at least one."""
        told = {voting.folded(name) for name in self.describers}
        labels = [v.label for v in instance.votes if voting.folded(v.source) not in told]
        if instance.status == "object":
            labels = [people.as_vote(label, self.defects) for label in labels]
        return tuple(dict.fromkeys(labels)) or (instance.label,)

    def _assigned(self, instance: Instance, label: str, score: float) -> AssignedLabel:
        """D13: the words for people are only replaced where the object is voted."""
        if instance.status == "object" or "D13" not in self.defects:
            label = people.as_label(label, self.defects)
        return AssignedLabel(instance.id, label, score)
