"""What the objects are good for, looked up in a table by their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from grand_pipeline import affordances
from grand_pipeline.affordances import Table
from grand_pipeline.columns import AFFORDANCES, ASSIGNED, INSTANCES
from grand_pipeline.labels import Lexicon, normalize
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Affordance, AssignedLabel, Instance


@dataclass(frozen=True, kw_only=True)
class Affordances(Stage[Table]):
    """The uses of an image's objects, floating ones included, with their ids.

    Labels are compared after normalisation and with synonyms, so that `tennis_racket`, `sofas` and
    `car_(automobile)` hit. The ids are those of the objects, which never change, so every
    reference resolves.
    """

    level: ClassVar[int] = 1

    words: Literal["label", "votes"] = "label"
    """label: the label chosen for an object decides. votes: every label that any source gave it
    counts, as in GranD; then the plan needs no assigned labels."""

    kinds: bool = True
    """Whether a label that the table does not have counts as what it is a kind of: a beach
    umbrella as an umbrella."""

    table: str = ""
    """A TOML file with a table per use, each with `labels` and a `description`; "" is the one that
    ships (`grand_pipeline/affordances.toml`)."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    """Synonyms and hypernyms beside the built-in ones."""

    def __post_init__(self) -> None:
        affordances.load(self.table)

    @property
    def reads(self) -> Reads:
        """Objects and, where they decide, their labels."""
        return (INSTANCES, ASSIGNED) if self.words == "label" else (INSTANCES,)

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
        """The table with its labels in canonical form."""
        return Table.of(affordances.load(self.table), self.lexicon.key)

    def annotate(self, model: Table, records: Sequence[Record]) -> list[Row]:
        """Affordances of every image."""
        by_label = self.words == "label"
        return [
            {
                AFFORDANCES: self.offered(
                    model, record[INSTANCES], record[ASSIGNED] if by_label else ()
                )
            }
            for record in records
        ]

    def offered(
        self,
        table: Table,
        instances: tuple[Instance, ...],
        assigned: tuple[AssignedLabel, ...] = (),
    ) -> tuple[Affordance, ...]:
        """What the instances are good for; one without an assigned label goes by its own."""
        chosen = {a.object_id: a.label for a in assigned}
        return table.gathered(
            (instance.id, normalize(label), name)
            for instance in instances
            for label in self._labels(instance, chosen.get(instance.id, instance.label))
            for name in self._names(table, label)
        )

    def _labels(self, instance: Instance, label: str) -> tuple[str, ...]:
        if self.words == "label":
            return (label,)
        return tuple(dict.fromkeys([*(vote.label for vote in instance.votes), label]))

    def _names(self, table: Table, label: str) -> Iterator[str]:
        """The label as the table has it, else whatever it is a kind of."""
        name = self.lexicon.key(label)
        if name in table.places or not self.kinds:
            yield name
        else:
            yield from sorted(self.lexicon.kinds(name))
