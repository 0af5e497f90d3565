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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from grand_pipeline import seal

TEMPORARY = ".tmp-"
"""How the names of files begin that are not complete yet."""
_ROW_GROUP = 64


Admitted = Callable[[], AbstractContextManager[None]]
"""Entered for the moment in which a file appears; may raise instead (see `lock.admitted`)."""


def publish(
    table: pa.Table,
    path: Path,
    metadata: Mapping[str, str],
    admitted: Admitted = nullcontext,
    make_room: Callable[[], None] = lambda: None,
) -> bool:
    """Write `table` to `path` with `metadata` in its footer; False if `path` is already there.

    `make_room` is called when the file is written and only its name is lacking. No file, and no
    temporary one, comes into being but within `admitted`.
    """
    with _written(path, partial(_write_table, table, metadata), admitted) as temporary:
        make_room()
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


def read_table(
    path: Path, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """A file of a run, all of it as it was at one moment. Raises FileNotFoundError.

    Columns of `schema` that the file does not have are null.
    """
    # Opened once: Arrow opens a path twice, and reads the values of a file that took the name in
    # between by the footer of the one before.
    with pa.OSFile(str(path)) as file:
        return pq.read_table(file, columns=columns and list(columns), schema=schema)


def metadata(place: Path | pa.NativeFile) -> dict[str, str] | None:
    """The footer's key-value metadata; None if `place` is no readable Parquet file."""
    try:
        found = pq.read_metadata(place).metadata or {}
        texts = {key.decode(): value.decode() for key, value in found.items()}
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return {key: text for key, text in texts.items() if key not in ("ARROW:schema", seal.KEY)}


def move(source: Path, target: Path) -> None:
    """Rename within a run, making the folder; the target's old content is replaced."""
    make_folder(target.parent)
    source.replace(target)
    _sync(target.parent)
    _sync(source.parent)


def make_folder(folder: Path) -> None:
    """The folder and those above it, on the disk by name: no file is safer than its folder."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)


def sweep(folder: Path) -> int:
    """Remove what crashed writers left below `folder`; returns how many files."""
    left = list(folder.rglob(f"{TEMPORARY}*"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


@contextmanager
def _written(
    path: Path, write: Callable[[BinaryIO], None], admitted: Admitted = nullcontext
) -> Iterator[Path]:
    """A flushed temporary file beside `path`; gone afterwards, and the folder flushed.

    What the caller does with it, it does `admitted`. So is the file begun: a writer that is turned
    away leaves none behind for which the sweep of its successor came too early.
    """
    with admitted():
        make_folder(path.parent)
        temporary = path.with_name(f"{TEMPORARY}{path.stem}-{uuid.uuid4().hex}")
        file = temporary.open("x+b")
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        with admitted():
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
