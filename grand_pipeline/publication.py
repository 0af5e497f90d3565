"""How a file becomes part of a run: all of it or nothing, once.

A table is written to a temporary file in the folder where it will live, flushed to the disk,
linked to its final name only if that name is free, and the folder is flushed. The committed file
is its own marker: no second file can disagree with it. A crash at any point leaves either no file
or the whole file, and a temporary one that the next run sweeps away. Every table is sealed with a
checksum of the file's bytes (see `seal`).

In a bucket the file is made in memory and comes with one put, which succeeds only if the name is
free or still has the version that was to be replaced. So there are no temporary objects. What takes
two requests there is not atomic: a crash in the middle of `move` leaves the file under both names,
and `remove` and the copies of `move` and `clear` look at no version.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from grand_pipeline import disk, seal
from grand_pipeline.errors import RunError, StorageError
from grand_pipeline.storage import BucketPath, Place, lease

T = TypeVar("T")

TEMPORARY = ".tmp-"
"""How the names of files begin that are not complete yet."""
_ROW_GROUP = 64
_TRIES = 10


Admitted = Callable[[], AbstractContextManager[None]]
"""Entered for the moment in which a file appears; may raise instead (see `lock.admitted`)."""


def publish(
    table: pa.Table,
    path: Place,
    metadata: Mapping[str, str],
    admitted: Admitted = nullcontext,
    make_room: Callable[[], bool] = lambda: False,
) -> bool:
    """Write `table` to `path` with `metadata` in its footer; False if what is there stays.

    `make_room` is called when the file is written and only its name is lacking; it says whether
    what has that name now may go (see `clear`). No file, and no temporary one, comes into being but
    within `admitted`.
    """
    write = partial(_write_table, table, metadata)
    if isinstance(path, BucketPath):
        return _put_once(_made(write), path, admitted, make_room)
    with _written(path, write, admitted) as temporary:
        make_room()
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        return True


def _put_once(
    data: bytes, path: BucketPath, admitted: Admitted, make_room: Callable[[], bool]
) -> bool:
    for _ in range(_TRIES):
        # First the version, then the token, then the put of that version: what the next driver
        # publishes here comes after it has changed the token, so either the token is another or
        # the version is, and a worker that was left behind replaces nothing of the next driver's.
        version = path.version()
        with admitted():
            if version is not None and not make_room():
                return False
            lease.confirm(path)
            if path.put(data, version) is not None:
                return True
    raise StorageError(f"'{path}' is overwritten by others all the time; see who else writes it")


def replace_table(table: pa.Table, metadata: Mapping[str, str], path: Place) -> None:
    """Atomically put `table` at `path`, over what was there."""
    _replace(partial(_write_table, table, metadata), path)


def replace(data: bytes, path: Place, *, sealed: bool = False) -> None:
    """Atomically put `data` at `path`, over what was there; `sealed` when it holds a mark."""
    _replace(partial(_write_bytes, data, sealed), path)


def _replace(write: Callable[[BinaryIO], None], path: Place) -> None:
    if isinstance(path, Path):
        with _written(path, write) as temporary:
            temporary.replace(path)
        return
    version = path.version()
    lease.confirm(path)
    if path.put(_made(write), version) is None:
        raise RunError(f"another process has written '{path}' at this moment; see who drives it")


def look(path: Place, read: Callable[[pa.NativeFile], T]) -> T:
    """What `read` makes of a file of a run, all of it as it was at one moment.

    It may be called more than once. Raises FileNotFoundError.
    """
    if isinstance(path, BucketPath):
        return path.look(read)
    # Opened once: Arrow opens a path twice, and reads the values of a file that took the name in
    # between by the footer of the one before.
    with pa.OSFile(str(path)) as file:
        return read(file)


def read_table(
    path: Place, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """A file of a run, as `look` sees it. Raises FileNotFoundError.

    Columns of `schema` that the file does not have are null.
    """
    names = columns and list(columns)
    return look(path, lambda file: pq.read_table(file, columns=names, schema=schema))


def metadata(place: Place | pa.NativeFile) -> dict[str, str] | None:
    """The footer's key-value metadata; None if there is no Parquet file at `place`, or a torn one.

    Raises OSError when nobody can say: a file that is closed to this process, or whose disk fails,
    is not taken for one that is missing, which would be made again in its place.
    """
    try:
        footer = look(place, _footer) if isinstance(place, Place) else _footer(place)
        texts = {key.decode(): value.decode() for key, value in footer.items()}
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        if disk.knows(error):
            raise
        return None
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return {key: text for key, text in texts.items() if key not in ("ARROW:schema", seal.KEY)}


def _footer(file: pa.NativeFile) -> Mapping[bytes, bytes]:
    return pq.read_metadata(file).metadata or {}


def move(source: Place, target: Place) -> None:
    """Rename within a run, making the folder; the target's old content is replaced."""
    if isinstance(source, Path) and isinstance(target, Path):
        make_folder(target.parent)
        source.replace(target)
        _sync(target.parent)
        _sync(source.parent)
    elif isinstance(source, BucketPath) and isinstance(target, BucketPath):
        lease.confirm(source)
        source.copy(target)
        source.delete()
    else:
        raise ValueError(f"'{source}' and '{target}' are not of one run")


def clear(path: Place, keep: Place | None) -> None:
    """Make room at `path` for what is published there next; what is there stays at `keep`.

    In a bucket it keeps its name until then: no reader finds nothing in between.
    """
    if isinstance(path, BucketPath) and isinstance(keep, BucketPath):
        path.copy(keep)
    elif isinstance(path, Path):
        if keep is None:
            path.unlink(missing_ok=True)
        else:
            move(path, keep)


def remove(path: Place) -> None:
    """Have nothing at `path`."""
    if isinstance(path, Path):
        path.unlink(missing_ok=True)
    else:
        lease.confirm(path)
        path.delete()


def make_folder(folder: Place) -> None:
    """The folder and those above it, on the disk by name: no file is safer than its folder."""
    if isinstance(folder, BucketPath):
        return  # Names need no folder there.
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)


def sweep(folder: Place) -> int:
    """Remove what crashed writers left below `folder`; returns how many files."""
    if isinstance(folder, BucketPath):
        return 0  # They leave nothing there.
    left = list(folder.rglob(f"{TEMPORARY}*"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _made(write: Callable[[BinaryIO], None]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


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
