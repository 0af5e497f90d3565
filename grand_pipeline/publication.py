"""How a file becomes part of a run: all of it or nothing, once.

A table is written to a temporary file in the folder where it will live, flushed to the disk,
linked to its final name only if that name is free, and the folder is flushed. The committed file
is its own marker: no second file can disagree with it. A crash at any point leaves either no file
or the whole file, and a temporary one that the next run sweeps away. Every table is sealed with a
checksum of the file's bytes (see `seal`).
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

from grand_pipeline import seal

TEMPORARY = ".tmp-"
"""How the names of files begin that are not complete yet."""
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


def replace(data: bytes, path: Path, *, sealed: bool = False) -> None:
    """Atomically put `data` at `path`, over what was there; `sealed` when it holds a mark."""
    with _written(path, partial(_write_bytes, data, sealed)) as temporary:
        temporary.replace(path)


def metadata(path: Path) -> dict[str, str] | None:
    """The footer's key-value metadata; None if there is no readable Parquet file at `path`."""
    try:
        found = pq.read_metadata(path).metadata or {}
        texts = {key.decode(): value.decode() for key, value in found.items()}
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return {key: text for key, text in texts.items() if key not in ("ARROW:schema", seal.KEY)}


def move(source: Path, target: Path) -> None:
    """Rename within a run, making the folder; the target's old content is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    _sync(target.parent)
    _sync(source.parent)


def sweep(folder: Path) -> int:
    """Remove what crashed writers left below `folder`; returns how many files."""
    left = list(folder.rglob(f"{TEMPORARY}*"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


@contextmanager
def _written(path: Path, write: Callable[[BinaryIO], None]) -> Iterator[Path]:
    """A flushed temporary file beside `path`; gone afterwards, and the folder flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.stem}-{uuid.uuid4().hex}")
    try:
        with temporary.open("x+b") as file:
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
    with pq.ParquetWriter(file, marked.schema, compression="zstd") as writer:
        writer.write_table(marked, row_group_size=_ROW_GROUP)
        writer.add_key_value_metadata({seal.KEY: seal.BLANK})
    seal.close(file)


def _write_bytes(data: bytes, sealed: bool, file: BinaryIO) -> None:
    file.write(data)
    if sealed:
        seal.close(file)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
