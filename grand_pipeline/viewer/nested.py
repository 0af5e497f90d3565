"""Questions to nested columns of many rows at once: which rows hold a value, and how often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def equal(table: pa.Table | None, wanted: str, column: str, *fields: str) -> set[int]:
    """Rows that hold `wanted`, in any case, in the values at `fields` of a column."""
    if table is None:
        return set()
    values, rows = _values(table[column], fields)
    return _rows(rows, pc.equal(pc.utf8_lower(values), wanted.lower()))


def containing(table: pa.Table | None, wanted: str, column: str, *fields: str) -> set[int]:
    """Rows in whose values `wanted` is a part, in any case."""
    if table is None:
        return set()
    values, rows = _values(table[column], fields)
    return _rows(rows, pc.match_substring(pc.utf8_lower(values), wanted.lower()))


def filled(table: pa.Table | None, column: str) -> set[int]:
    """Rows whose list is not empty."""
    if table is None:
        return set()
    return set(np.flatnonzero(_lengths(table[column].combine_chunks())).tolist())


def counts(column: pa.ChunkedArray, *fields: str) -> Counter[str]:
    """How often each value stands at `fields`; nulls left out."""
    values, _ = _values(column, fields)
    found = values.drop_null().value_counts()
    pairs = zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)
    return Counter(dict(pairs))


def _values(column: pa.ChunkedArray, fields: tuple[str, ...]) -> tuple[pa.Array, NDArray[np.int64]]:
    """All values at `fields`, through any lists on the way, and the row that each stands in."""
    values = column.combine_chunks()
    rows = np.arange(len(values))
    for name in (*fields, None):
        if pa.types.is_list(values.type):
            rows = rows.repeat(_lengths(values))
            values = values.flatten()
        if name is not None:
            values = pc.struct_field(values, name)
    return values, rows


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0))


def _rows(rows: NDArray[np.int64], mask: pa.Array) -> set[int]:
    return set(rows[np.asarray(pc.fill_null(mask, False))].tolist())
