"""How a file becomes part of a run: all of it or nothing, once.

A table is written to a temporary file in the folder where it will live, flushed to the disk,
linked to its final name only if that name is free, and the folder is flushed. The committed file
is its own marker: no second file can disagree with it. A crash at any point leaves either no file
or the whole file, and a temporary one that the next run sweeps away.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_TEMPORARY = ".tmp-"
_ROW_GROUP = 64


def publish(table: pa.Table, path: Path, metadata: Mapping[str, str]) -> bool:
    """Write `table` to `path` with `metadata` in its footer; False if `path` is already there."""
    with _written(path, partial(_write_table, table, metadata)) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        return True


def replace_table(table: pa.Table, metadata: Mapping[str, str], path: Path) -> None:
    """Atomically put `table` at `path`, over what was there."""
    with _written(path, partial(_write_table, table, metadata)) as temporary:
        temporary.replace(path)


def replace(data: bytes, path: Path) -> None:
    """Atomically put `data` at `path`, over what was there."""
    with _written(path, partial(_write_bytes, data)) as temporary:
        temporary.replace(path)


def metadata(path: Path) -> dict[str, str] | None:
    """The footer's key-value metadata; None if there is no readable Parquet file at `path`."""
    try:
        found = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return {k.decode(): v.decode() for k, v in found.items() if k != b"ARROW:schema"}


def move(source: Path, target: Path) -> None:
    """Rename within a run, making the folder; the target's old content is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    _sync(target.parent)
    _sync(source.parent)


def sweep(folder: Path) -> int:
    """Remove what crashed writers left below `folder`; returns how many files."""
    left = list(folder.rglob(f"{_TEMPORARY}*"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


@contextmanager
def _written(path: Path, write: Callable[[BinaryIO], None]) -> Iterator[Path]:
    """A flushed temporary file beside `path`; gone afterwards, and the folder flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{path.stem}-{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        _sync(path.parent)


def _write_table(table: pa.Table, metadata: Mapping[str, str], file: BinaryIO) -> None:
    coded = {key.encode(): value.encode() for key, value in metadata.items()}
    marked = table.replace_schema_metadata(coded)
    pq.write_table(marked, file, compression="zstd", row_group_size=_ROW_GROUP)


def _write_bytes(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
