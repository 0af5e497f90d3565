"""Presets and options: TOML tables become stages, and every key is checked.

A preset has one table per stage, named like the stage; a family stage has one sub-table per
source (`[open_detection.owl_vit]`). Defaults live in the stages' dataclasses and nowhere else.
Word lists that several stages share stand once in `[lists]` and are used as `"$name"`; long ones
stand in files and are used as `"file:PATH"`, from where the preset is (`listfiles`).
"""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline import catalog, fields, listfiles
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.stage import Stage

PRESETS = Path(__file__).parent / "presets"
Tables = dict[str, dict[str, Any]]
"""Stage key (`tags.siglip`) -> its options as plain TOML values."""


@dataclass(frozen=True)
class Substitution:
    """A model that a preset is meant to have, and what does its work there."""

    model: str
    by: str
    """Key of the stage that stands in; "" where nothing does."""
    reason: str


@dataclass(frozen=True)
class Preset:
    """A named set of stages with their options, not yet instantiated."""

    name: str
    description: str
    tables: Tables
    substitutions: tuple[Substitution, ...] = ()


def preset_names() -> list[str]:
    """Names of the presets in the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_preset(name: str) -> Preset:
    """The packaged preset `name`, or the TOML file at that path. Raises SettingsError."""
    path = Path(name)
    if path.suffix != ".toml":
        if name not in preset_names():
            raise SettingsError(
                f"no preset is called '{name}'.{suggest(name, preset_names())} "
                "A path ending in .toml is read as a file."
            )
        path = PRESETS / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"preset file '{path}' does not exist") from None
    except OSError as error:
        raise SettingsError(f"cannot read preset file '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of tables in tables
        raise SettingsError(f"preset file '{path}' is not valid TOML: {error}") from None
    head, listed = (data.pop(name, {}) for name in ("preset", "lists"))
    if not isinstance(head, dict) or not isinstance(listed, dict):
        raise SettingsError(f"[preset] and [lists] in '{path}' must be tables")
    lists = listfiles.expand(listed, path.parent)
    tables = _expand(listfiles.expand(_flatten(data, str(path)), path.parent), lists, str(path))
    rows = head.get("substitutions", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SettingsError(f"the substitutions in '{path}' must be tables")
    substitutions = tuple(
        fields.build(Substitution, row, f"a substitution of {path}") for row in rows
    )
    return Preset(path.stem, str(head.get("description", "")), tables, substitutions)


def override(preset: Preset, assignments: Iterable[str]) -> Preset:
    """The preset with `stage.option=value` texts applied; values are read as TOML, else as text.

    A `file:PATH` among them starts in the working directory.
    """
    tables = copy.deepcopy(preset.tables)
    for text in assignments:
        target, equals, value = text.partition("=")
        key = _table_of(target.strip(), tables)
        if not equals or key is None:
            raise SettingsError(
                f"cannot read --set '{text}': expected stage.option=value."
                f"{suggest(target.rpartition('.')[0], tables)}"
            )
        path = target.strip().removeprefix(f"{key}.").split(".")
        table = tables[key]
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise SettingsError(f"cannot read --set '{text}': '{part}' of '{key}' is no table")
        table[path[-1]] = listfiles.expand(fields.toml_value(value.strip()), Path())
    return dataclasses.replace(preset, tables=tables)


def stages(preset: Preset) -> tuple[Stage[Any], ...]:
    """Instantiate every stage of the preset. Raises SettingsError that names key and option."""
    return tuple(_instantiate(key, table) for key, table in preset.tables.items())


def _flatten(data: Mapping[str, Any], where: str) -> Tables:
    tables: Tables = {}
    for name, table in data.items():
        if not isinstance(table, dict):
            raise SettingsError(f"'{name}' in {where} must be a table named like a stage")
        if _is_family(name):
            for source, options in table.items():
                if not isinstance(options, dict):
                    raise SettingsError(
                        f"stage '{name}' in {where} has one table per source: write "
                        f"[{name}.SOURCE] and put '{source}' there"
                    )
                tables[f"{name}.{source}"] = dict(options)
        else:
            tables[name] = dict(table)
    return tables


def _expand(value: Any, lists: Mapping[str, list[Any]], where: str) -> Any:
    """Replace `"$name"` by the list; inside a list its items are put in its place."""
    if isinstance(value, dict):
        return {key: _expand(item, lists, where) for key, item in value.items()}
    if isinstance(value, list):
        parts = [(item, _expand(item, lists, where)) for item in value]
        return [x for item, new in parts for x in (new if _is_list_name(item) else [new])]
    if _is_list_name(value):
        name = value[1:]
        if name not in lists:
            raise SettingsError(f"{where} has no list '{name}'.{suggest(name, lists)}")
        return list(lists[name])
    return value


def _is_list_name(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$")


def _is_family(name: str) -> bool:
    return "source" in {f.name for f in dataclasses.fields(catalog.stage_class(name))}


def _table_of(target: str, tables: Tables) -> str | None:
    keys = [key for key in tables if target.startswith(f"{key}.")]
    return max(keys, key=len, default=None)


def _instantiate(key: str, table: Mapping[str, Any]) -> Stage[Any]:
    name, _, source = key.partition(".")
    cls = catalog.stage_class(name)
    values = {**table, "source": source} if source else dict(table)
    stage: Stage[Any] = fields.build(cls, values, f"stage '{key}'")
    return stage
