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
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from grand_pipeline import catalog, listfiles
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.stage import Stage

PRESETS = Path(__file__).parent / "presets"
Tables = dict[str, dict[str, Any]]
"""Stage key (`tags.siglip`) -> its options as plain TOML values."""


@dataclass(frozen=True)
class Preset:
    """A named set of stages with their options, not yet instantiated."""

    name: str
    description: str
    tables: Tables


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
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"preset file '{path}' is not valid TOML: {error}") from None
    head = data.pop("preset", {})
    lists = listfiles.expand(data.pop("lists", {}), path.parent)
    tables = _expand(listfiles.expand(_flatten(data, str(path)), path.parent), lists, str(path))
    return Preset(path.stem, str(head.get("description", "")), tables)


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
        table[path[-1]] = listfiles.expand(_toml_value(value.strip()), Path())
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


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _instantiate(key: str, table: Mapping[str, Any]) -> Stage[Any]:
    name, _, source = key.partition(".")
    cls = catalog.stage_class(name)
    values = {**table, "source": source} if source else dict(table)
    stage: Stage[Any] = _build(cls, values, f"stage '{key}'")
    return stage


def _build(cls: type[Any], values: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(cls)
    options = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in options:
            raise SettingsError(f"{where} has no option '{name}'.{suggest(name, options)}")
    for name, option in options.items():
        no_default = (option.default, option.default_factory) == (dataclasses.MISSING,) * 2
        if no_default and name not in values:
            raise SettingsError(f"{where} needs a value for option '{name}'")
    coerced = {
        name: _coerce(hints[name], value, f"option '{name}' of {where}")
        for name, value in values.items()
    }
    try:
        return cls(**coerced)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def _coerce(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin is Union or origin is types.UnionType:
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        return None if value is None else _coerce(inner[0], value, where)
    if origin is Literal:
        if value not in get_args(hint):
            choices = suggest(str(value), [str(a) for a in get_args(hint)])
            raise SettingsError(f"{where} can not be {value!r}.{choices}")
        return value
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(typing.cast("type[Any]", hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        args = get_args(hint)
        inner_hints = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner_hints) != len(value):
            raise SettingsError(f"{where} takes {len(args)} values, not {len(value)}: {value!r}")
        pairs = zip(inner_hints, value, strict=True)
        return tuple(_coerce(h, item, where) for h, item in pairs)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and not _is_a(value, hint):
        raise SettingsError(f"{where} must be {hint.__name__}, not {value!r}")
    return value


def _is_a(value: Any, hint: type[Any]) -> bool:
    # bool is an int to Python, but `threshold = true` is a mistake.
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
