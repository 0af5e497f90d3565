"""How a file becomes part of a run: all of it or nothing, once.

A table is written to a temporary file in the folder where it will live, flushed to the disk,
linked to its final name only if that name is free, and the folder is flushed. The committed file
is its own marker: no second file can disagree with it. A crash at any point leaves either no file
or the whole file, and a temporary one that the next run sweeps away.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_TEMPORARY = ".tmp-"


def publish(table: pa.Table, path: Path, metadata: Mapping[str, str]) -> bool:
    """Write `table` to `path` with `metadata` in its footer; False if `path` is already there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{path.stem}-{uuid.uuid4().hex}")
    coded = {key.encode(): value.encode() for key, value in metadata.items()}
    try:
        with temporary.open("xb") as file:
            pq.write_table(
                table.replace_schema_metadata(coded), file, compression="zstd", row_group_size=64
            )
            file.flush()
            os.fsync(file.fileno())
        return _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        _sync(path.parent)


def replace(data: bytes, path: Path) -> None:
    """Atomically put `data` at `path`, over what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{path.stem}-{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


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


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
