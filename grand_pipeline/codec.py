"""Arrow types and plain values derived from the annotations of frozen dataclasses.

One declaration (the dataclass in `types`) gives the Arrow type, the encoder and the decoder, so
the three can not disagree.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa

_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int32(),
    float: pa.float32(),
    bool: pa.bool_(),
    bytes: pa.binary(),
}


def arrow_type(hint: Any) -> pa.DataType:
    """Arrow type of a type annotation: scalars, dataclasses, tuples, optionals, literals.

    `tuple[X, ...]` becomes a list, `tuple[X, X]` a fixed-size list. Raises TypeError otherwise.
    """
    hint = _bare(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return pa.struct([(f.name, arrow_type(hints[f.name])) for f in dataclasses.fields(hint)])
    if get_origin(hint) is tuple:
        args = get_args(hint)
        if args[-1] is Ellipsis:
            return pa.list_(arrow_type(args[0]))
        return pa.list_(arrow_type(args[0]), len(args))
    raise TypeError(f"no Arrow type for annotation {hint!r}")


def encode(value: Any) -> Any:
    """A dataclass value as dicts, lists and scalars that Arrow accepts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def decode(hint: Any, plain: Any) -> Any:
    """The inverse of `encode` for annotation `hint`."""
    if plain is None:
        return None
    hint = _bare(hint)
    if dataclasses.is_dataclass(hint):
        cls = typing.cast(Any, hint)
        hints = _hints(cls)
        values = {f.name: decode(hints[f.name], plain[f.name]) for f in dataclasses.fields(hint)}
        return cls(**values)
    if get_origin(hint) is tuple:
        args = get_args(hint)
        inner = args if args[-1] is not Ellipsis else [args[0]] * len(plain)
        return tuple(decode(h, item) for h, item in zip(inner, plain, strict=True))
    return plain


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    """Resolved field types of a dataclass; resolving them is most of the cost of decoding."""
    return typing.get_type_hints(cls)


def _bare(hint: Any) -> Any:
    """Strip `X | None`, NewType and Literal down to the stored type."""
    origin = get_origin(hint)
    if origin is Union or origin is types.UnionType:
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"only X | None unions are storable, not {hint!r}")
        return _bare(inner[0])
    if origin is Literal:
        return type(get_args(hint)[0])
    if hasattr(hint, "__supertype__"):
        return _bare(hint.__supertype__)
    return hint
