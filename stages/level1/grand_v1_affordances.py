"""GranD's affordances: every label that a detector gave an object is looked up in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from grand_pipeline import affordances
from grand_pipeline.affordances import Table
from grand_pipeline.columns import AFFORDANCES, FUSED, INSTANCES
from grand_pipeline.grand_v1 import voting
from grand_pipeline.labels import normalize
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Affordance, Instance


@dataclass(frozen=True, kw_only=True)
class GrandV1Affordances(Stage[Table]):
    """The uses of the objects and floating objects of level 1, before any caption is looked at.

    Labels are compared in normal form, without synonyms. GranD's own table is not ours to ship.
    """

    level: ClassVar[int] = 1

    table: str = ""
    """A TOML file with a table per use, as for `affordances`; "" is the one that ships."""

    describers: tuple[str, ...] = ("grit",)
    """Sources whose votes are texts and no labels."""

    defects: tuple[Literal["D3", "D13b"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    def __post_init__(self) -> None:
        affordances.load(self.table)

    @property
    def reads(self) -> Reads:
        """Objects of level 1, and their final status, which GranD's final numbers follow."""
        return (FUSED, INSTANCES)

    @property
    def writes(self) -> Writes:
        """Affordances, in the order of the table."""
        return (AFFORDANCES,)

    @property
    def needs_image(self) -> bool:
        return False

    def options(self) -> dict[str, Any]:
        """The options, and the content of the table, which decides as much."""
        return {**super().options(), "content": affordances.digest(self.table)}

    def load(self, device: str) -> Table:
        """The table. D13b: its labels as they are spelt there."""
        return Table.of(affordances.load(self.table), self._key)

    def annotate(self, model: Table, records: Sequence[Record]) -> list[Row]:
        """Affordances of every image."""
        return [{AFFORDANCES: self.offered(model, r[FUSED], r[INSTANCES])} for r in records]

    def offered(
        self, table: Table, fused: tuple[Instance, ...], instances: tuple[Instance, ...]
    ) -> tuple[Affordance, ...]:
        """What the `fused` objects are good for, with the ids that they have in `instances`.

        D3: their numbers from before promotion are read as final ones.
        """
        told = {voting.folded(name) for name in self.describers}
        stale = "D3" in self.defects
        ids = _misread(fused, instances) if stale else {one.id: one.id for one in instances}
        return table.gathered(
            (ids[instance.id], self._key(vote.label), self._key(vote.label))
            for instance in fused
            for vote in instance.votes
            if instance.id in ids and voting.folded(vote.source) not in told
        )

    def _key(self, label: str) -> str:
        """D13b: labels have to be spelt as in the table."""
        return label if "D13b" in self.defects else normalize(label)


def _misread(fused: Sequence[Instance], instances: Sequence[Instance]) -> dict[int, int]:
    """Id of a fused object -> id of the one that has its number in GranD's final file.

    There promoted objects follow the objects of level 1, and what floats is numbered behind them.
    """
    before = {one.id: one.status for one in fused}

    def rank(one: Instance) -> int:
        if one.status == "floating":
            return 2
        return 0 if before.get(one.id) == "object" else 1

    final = sorted(instances, key=rank)
    return {old.id: new.id for old, new in zip(fused, final, strict=False)}
