"""All images of a run as one numbered sequence, in pieces that are read when they are looked at.

The list of images of a shard never changes, so a picture keeps its number while a run grows. Every
file is opened once per look, so what is seen of it is of one version; a shard that is not published
yet, or is superseded at this moment, has images and no rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from grand_pipeline import publication
from grand_pipeline.errors import DamageError
from grand_pipeline.storage import Place
from grand_pipeline.store import ANNOTATIONS, Run

_SHARDS = 1 << 16
_IMAGE = ("image_id", "uri", "width", "height", "error")

Identity = tuple[int, int, int] | str
"""What a file is, whatever its name: inode, size, time of change in nanoseconds; in a bucket, the
version of the object."""


@dataclass(frozen=True)
class Listing:
    """The shards of a run and the number of the first image of each, and at last the total."""

    run: Run
    shards: tuple[str, ...]
    starts: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many images there are."""
        return self.starts[-1]

    def place(self, number: int) -> tuple[int, int]:
        """(place of the shard, row in it) of an image's number."""
        shard = bisect_right(self.starts, number) - 1
        return shard, number - self.starts[shard]


def listing(run: Run) -> Listing:
    """The images that a run has now."""
    shards = tuple(run.shards())
    counts = [_count(path, identity(path)) for path in map(run.images_path, shards)]
    return Listing(run, shards, tuple(accumulate(counts, initial=0)))


def images(listed: Listing, start: int, stop: int, *more: str) -> list[dict[str, Any]]:
    """Image rows of the numbers [start, stop) of one shard, with their number."""
    shard, first = listed.place(start)
    path = listed.run.images_path(listed.shards[shard])
    rows = _slice(path, first, first + stop - start, (*_IMAGE, *more))
    return [{"number": start + n, **row} for n, row in enumerate(rows.to_pylist())]


def published(
    listed: Listing, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> pa.Table | None:
    """The published rows of these neighbouring image rows of one shard; None while it has none.

    `columns` are Parquet leaves or what holds them. Raises DamageError for a damaged file.
    """
    shard, first = listed.place(rows[0]["number"])
    path = listed.run.fragment(ANNOTATIONS, listed.shards[shard])
    try:
        table = _slice(path, first, first + len(rows), ("image_id", *columns))
    except FileNotFoundError:
        return None
    if table["image_id"].to_pylist() != [row["image_id"] for row in rows]:
        raise DamageError(f"'{path}' does not list the images of its shard; see grand verify")
    return table


def find(listed: Listing, image_id: str, hint: int | None = None) -> int | None:
    """The number of an image; `hint` is the number that it probably has."""
    if hint is not None and _is(listed, hint, image_id):
        return hint
    wanted = image_id.encode("ascii", "replace")
    for shard, start in zip(listed.shards, listed.starts, strict=False):
        path = listed.run.images_path(shard)
        names, order = _ids(path, identity(path))
        at = int(np.searchsorted(names, wanted))
        if at < len(names) and names[at] == wanted:
            return start + int(order[at])
    return None


def _is(listed: Listing, number: int, image_id: str) -> bool:
    listed_there = number < listed.total
    return listed_there and images(listed, number, number + 1)[0]["image_id"] == image_id


def identity(path: Place) -> Identity:
    """What is at `path` now. Raises FileNotFoundError."""
    if not isinstance(path, Path):
        if (version := path.version()) is None:
            raise FileNotFoundError(f"'{path}' is not there")
        return version
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _slice(path: Place, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
    """Rows [start, stop) of a file, of which only the row groups that hold them are read."""
    try:
        return publication.look(path, partial(_rows, path, start, stop, columns))
    except pa.ArrowInvalid as error:
        raise DamageError(f"'{path}' can not be read: {error}; see grand verify") from None


def _rows(
    path: Place, start: int, stop: int, columns: Sequence[str], source: pa.NativeFile
) -> pa.Table:
    with pq.ParquetFile(source) as file:
        groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        ends = list(accumulate(groups, initial=0))
        if stop > ends[-1]:
            raise DamageError(f"'{path}' has {ends[-1]} rows and should have {stop} or more")
        first, last = bisect_right(ends, start) - 1, bisect_right(ends, stop - 1)
        held = file.read_row_groups(list(range(first, last)), list(columns), use_threads=False)
        return held.slice(start - ends[first], stop - start)


@lru_cache(_SHARDS)
def _count(path: Place, version: Identity) -> int:
    return int(publication.look(path, pq.read_metadata).num_rows)


@lru_cache(_SHARDS)
def _ids(path: Place, version: Identity) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
    """Sorted image ids of a shard and the row of each."""
    rows = _slice(path, 0, _count(path, version), ("image_id",))
    names = np.array([name.encode("ascii", "replace") for name in rows["image_id"].to_pylist()])
    order = np.argsort(names, kind="stable")
    return names[order], order
