"""Arrow types and plain values derived from the annotations of frozen dataclasses.

One declaration (the dataclass in `types`) gives the Arrow type, the encoder and the decoder, so
the three can not disagree.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable
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
    kind: Any = type(value)
    return value if kind in _PLAIN else _encoder(kind)(value)


def decode(hint: Any, plain: Any) -> Any:
    """The inverse of `encode` for annotation `hint`."""
    return None if plain is None else _decoder(hint)(plain)


def json_text(plain: Any) -> str:
    """Plain values as JSON that any program reads: no number but finite ones, others are null.

    Values that JSON does not know, such as dates, become text.
    """
    return json.dumps(_finite(plain), ensure_ascii=False, allow_nan=False, default=str)


def _finite(plain: Any) -> Any:
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else None
    if isinstance(plain, dict):
        return {str(name): _finite(value) for name, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_finite(value) for value in plain]
    return plain


_PLAIN = frozenset((*_SCALARS, type(None)))
"""Types of values that are stored as they are."""

Code = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


# Looking at a type costs more than coding a value of it, so each is looked at once.
@functools.cache
def _encoder(kind: Any) -> Code:
    """The encoder of values of a type."""
    if dataclasses.is_dataclass(kind):
        names = tuple(f.name for f in dataclasses.fields(kind))
        return lambda value: {name: encode(getattr(value, name)) for name in names}
    if issubclass(kind, tuple | list):
        return lambda value: [encode(item) for item in value]
    return _same


@functools.cache
def _decoder(hint: Any) -> Code:
    """The decoder of values that are not None for an annotation."""
    hint = _bare(hint)
    if dataclasses.is_dataclass(hint):
        return _record_decoder(typing.cast(Any, hint))
    if get_origin(hint) is not tuple:
        return _same
    args = get_args(hint)
    if args[-1] is not Ellipsis:
        inner = [_decoder(arg) for arg in args]
        return lambda plain: tuple(
            [None if i is None else code(i) for code, i in zip(inner, plain, strict=True)]
        )
    each = _decoder(args[0])
    return (
        tuple
        if each is _same
        else lambda plain: tuple([None if item is None else each(item) for item in plain])
    )


def _record_decoder(cls: type[Any]) -> Code:
    hints = typing.get_type_hints(cls)
    fields = [(f.name, _decoder(hints[f.name])) for f in dataclasses.fields(cls)]

    def decoded(plain: dict[str, Any]) -> Any:
        # A field that was added since the file was written has its default.
        return cls(
            **{
                name: None if (value := plain[name]) is None else code(value)
                for name, code in fields
                if name in plain
            }
        )

    return decoded


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
