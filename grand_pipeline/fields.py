"""Values of TOML files as frozen dataclasses: every key is known, every type checked."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from grand_pipeline.errors import SettingsError, suggest

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of the dataclass `cls`; tables become the dataclasses that its fields declare.

    Raises SettingsError that names `where` and the option: unknown (with the nearest name), left
    out though it has no default, of another type, or refused by the class itself.
    """
    hints = typing.get_type_hints(cls)
    options = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
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


def toml_value(text: str) -> Any:
    """A value as it would stand in a TOML file; a text that is none is itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


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
        return build(typing.cast("type[Any]", hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        args = get_args(hint)
        inner_hints = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner_hints) != len(value):
            raise SettingsError(f"{where} takes {len(args)} values, not {len(value)}: {value!r}")
        pairs = zip(inner_hints, value, strict=True)
        return tuple(_coerce(h, item, where) for h, item in pairs)
    if hint is float and value != value:
        raise SettingsError(f"{where} must be a number, not {value!r}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and not _is_a(value, hint):
        raise SettingsError(f"{where} must be {hint.__name__}, not {value!r}")
    return value


def _is_a(value: Any, hint: type[Any]) -> bool:
    # bool is an int to Python, but `threshold = true` is a mistake.
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
