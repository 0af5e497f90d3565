"""Configurations of recipes: `training/configs/<recipe>/<name>.toml`, changed by `key=value`.

A recipe declares a frozen dataclass; its defaults stand there and nowhere else, a configuration
says what is different. A list in a file of its own is written as "file:PATH" (`listfiles`).
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from grand_pipeline import fields, listfiles
from grand_pipeline.errors import SettingsError, suggest

C = TypeVar("C")

CONFIGS = Path(__file__).parent / "configs"


def names(recipe: str) -> list[str]:
    """Names of a recipe's packaged configurations."""
    return sorted(path.stem for path in (CONFIGS / recipe).glob("*.toml"))


def load(config: type[C], recipe: str, name: str, assignments: Iterable[str] = ()) -> C:
    """The configuration `name` of a recipe as its dataclass `config`, with `key=value` applied.

    `name` is a packaged one, or a path that ends in .toml. A key of a nested table is written
    `table.key=value`; values are read as TOML, else as text, and "file:PATH" starts in the working
    directory. Raises SettingsError with the nearest name for what is not known.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in names(recipe):
            raise SettingsError(
                f"recipe '{recipe}' has no configuration '{name}'.{suggest(name, names(recipe))} "
                "A path ending in .toml is read as a file."
            )
        path = CONFIGS / recipe / f"{name}.toml"
    values = assigned(_read(path), assignments)
    return fields.build(config, values, f"configuration '{path.stem}' of recipe '{recipe}'")


def assigned(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Nested tables with `key=value` texts applied; the original is left alone.

    Raises SettingsError for a text without "=" and for a key below one that holds no table.
    """
    changed = copy.deepcopy(dict(values))
    for text in assignments:
        key, equals, value = text.partition("=")
        *tables, last = (part.strip() for part in key.split("."))
        if not equals or not last or not all(tables):
            raise SettingsError(f"cannot read '{text}': expected key=value or table.key=value")
        table = changed
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise SettingsError(f"cannot set '{key.strip()}': '{part}' is a value, no table")
        table[last] = listfiles.expand(fields.toml_value(value.strip()), Path())
    return changed


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"configuration '{path}' can not be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"configuration '{path}' is not valid TOML: {error}") from None
    expanded: dict[str, Any] = listfiles.expand(values, path.parent)
    return expanded
