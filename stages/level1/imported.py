"""Columns that `grand import` put into the run: predictions or annotations made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline.columns import Column, named
from grand_pipeline.errors import UserError
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes


@dataclass(frozen=True, kw_only=True)
class Imported(Stage[None]):
    """Stands in the plan for columns that no stage here can compute. Import writes its table."""

    level: ClassVar[int] = 1
    given: ClassVar[bool] = True

    source: str
    """The model or data set that was imported."""
    columns: tuple[str, ...] = ()
    """Names of the columns that were imported."""
    content: tuple[str, ...] = ()
    """Digests of the files of every import of this source, in the order of the imports."""

    def __post_init__(self) -> None:
        for name in self.columns:
            _column(name)

    @property
    def reads(self) -> Reads:
        """Nothing."""
        return ()

    @property
    def writes(self) -> Writes:
        """The columns that were imported."""
        return tuple(_column(name) for name in self.columns or ())

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Raises UserError: there is nothing to load."""
        raise self._refusal()

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        """Raises UserError: there is nothing to compute."""
        raise self._refusal()

    def _refusal(self) -> UserError:
        return UserError(f"'{self.key}' was imported and can not be computed; import it again")


def _column(name: str) -> Column[object]:
    """Raises ValueError for a name that the data dictionary does not have."""
    try:
        return named(name)
    except KeyError:
        raise ValueError(f"there is no column '{name}'") from None
