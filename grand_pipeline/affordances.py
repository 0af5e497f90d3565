"""What things are good for: a table of uses, and which words of an image stand in it.

The table that ships is `affordances.toml`; a file of the same form can take its place.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Affordance

BUILT_IN = Path(__file__).with_suffix(".toml")

Key = Callable[[str], str]
"""A label -> the form in which labels are compared."""


@dataclass(frozen=True)
class Use:
    """What things with one of `labels` are good for, in a sentence."""

    category: str
    description: str | None
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Uses in their order, and for each label in compared form the positions of its uses."""

    uses: tuple[Use, ...]
    places: Mapping[str, tuple[int, ...]]

    @staticmethod
    def of(uses: Iterable[Use], key: Key) -> Table:
        """The table of `uses` with labels compared as `key` has them."""
        listed = tuple(uses)
        places: dict[str, dict[int, None]] = {}
        for place, use in enumerate(listed):
            for label in use.labels:
                places.setdefault(key(label), {})[place] = None
        return Table(listed, {name: tuple(found) for name, found in places.items()})

    def gathered(self, told: Iterable[tuple[int, str, str]]) -> tuple[Affordance, ...]:
        """Affordances from (object id, label as shown, label as compared), by order of the table.

        Ids and labels stand once each, in the order in which they are told.
        """
        ids: dict[int, dict[int, None]] = {}
        labels: dict[int, dict[str, None]] = {}
        for object_id, shown, name in told:
            for place in self.places.get(name, ()):
                ids.setdefault(place, {})[object_id] = None
                labels.setdefault(place, {})[shown] = None
        return tuple(
            Affordance(use.category, use.description, tuple(ids[place]), tuple(labels[place]))
            for place, use in enumerate(self.uses)
            if place in ids
        )


def path_of(table: str) -> Path:
    """The file that an option names; "" is the table that ships."""
    return Path(table).expanduser() if table else BUILT_IN


@lru_cache(maxsize=16)
def load(table: str) -> tuple[Use, ...]:
    """The uses in a table. Raises SettingsError for a file that is no table of uses."""
    try:
        content = tomllib.loads(_bytes(table).decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"'{path_of(table)}' is not valid TOML: {error}") from None
    uses = tuple(_use(name, entry, path_of(table)) for name, entry in content.items())
    if not uses:
        raise SettingsError(f"'{path_of(table)}' has no table: {_FORM}")
    return uses


@lru_cache(maxsize=16)
def digest(table: str) -> str:
    """What identifies a table's content. Raises SettingsError for a file that is not there."""
    return f"sha256:{hashlib.sha256(_bytes(table)).hexdigest()[:32]}"


_FORM = 'it needs one table per use, such as ["sit on"], with labels = [...] and a description'


def _bytes(table: str) -> bytes:
    path = path_of(table)
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"cannot read the table of affordances '{path}': {reason}") from None


def _use(name: str, entry: Any, path: Path) -> Use:
    table = entry if isinstance(entry, dict) else {}
    labels, description = table.get("labels"), table.get("description")
    listed = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    known = table.keys() <= {"labels", "description"}
    if not listed or not labels or not known or not isinstance(description, str | None):
        raise SettingsError(f"'{name}' in '{path}' is no use: {_FORM}")
    return Use(name, description, tuple(labels))
