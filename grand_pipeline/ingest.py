"""From what the user names (folder, glob, list, bucket) to rows of `images/`.

`discover` finds files, `scan` reads each one, `collect` merges equal contents and leaves out what
a run already has. No file disappears: one that is no readable image becomes a row with its reason.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from grand_pipeline import bounded, images, sources
from grand_pipeline.columns import ImageRow
from grand_pipeline.errors import DiskError, ImageError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_TRIES = 8
"""Files that `sample` opens at most for each image asked."""
_SECONDS = 600.0
"""Longest wait for one file: what a stage waits for an image by default."""
_SILENT = 8
"""Files in a row without an answer, after which a file system is taken for gone."""


@dataclass(frozen=True)
class Intake:
    """What a scan brings to a run."""

    rows: tuple[ImageRow, ...]
    """New contents in the order found, later equal files listed in `duplicates`."""
    seen: Mapping[str, tuple[str, ...]]
    """Image id -> where this content, which the run already has, was found now."""
    found: int
    """Files looked at."""


def content_id(data: bytes) -> str:
    """The image id of a file's bytes: the first 32 hex digits of their SHA-256."""
    return sha256(data).hexdigest()[:32]


def discover(source: str | Sequence[str], *, skip: Path | None = None) -> Iterator[str]:
    """Uris of all files that `source` names, each once, in a fixed order.

    A source is a folder (recursive; names that begin with a dot are left out), a file, a glob, a
    list of paths (`@FILE` or `FILE.txt`, one per line, relative to the list's folder), or any of
    these but lists as an fsspec URI. `skip` is a folder to stay out of, such as the run itself.
    Raises UserError when a source does not exist or holds no file.
    """
    named = [source] if isinstance(source, str) else list(source)
    outside = None if skip is None else os.path.abspath(skip)
    seen: set[str] = set()
    for name in named:
        before = len(seen)
        for uri in sources.files(name, outside):
            if uri not in seen:
                seen.add(uri)
                yield uri
        if len(seen) == before and len(named) == 1:
            raise UserError(
                f"found no files in '{name}' (looked at {sources.absolute(name)}; "
                "files and folders whose names begin with a dot are left out)"
            )
    if not seen:
        raise UserError(f"found no files; looked at: {', '.join(named) or '(nothing given)'}")


def scan(
    uris: Iterable[str],
    *,
    known: Collection[str] = (),
    threads: int = 8,
    seconds: float = _SECONDS,
) -> Generator[ImageRow, None, None]:
    """One row per file in the order given: hashed always, decoded unless its id is in `known`.

    Rows of known content carry no size. A file that gives no answer in `seconds` is unreadable. At
    most a few files per thread are in memory. Raises MissingDependencyError when the uris need a
    package that is not installed, and DiskError when one file after the other gives no answer.
    """
    silent = 0
    row_of = partial(_row, known=known)
    for uri, row in bounded.answers(row_of, uris, threads=threads, seconds=seconds):
        silent = silent + 1 if row is None else 0
        if silent == _SILENT:
            raise DiskError(
                f"{_SILENT} files in a row gave no answer within {seconds:g} s, the last one is "
                f"'{uri}'; see that their file system is there, and run the same command again"
            )
        yield row or unread(uri, ImageError(f"no answer within {seconds:g} s"))


def collect(rows: Iterable[ImageRow], known: Collection[str]) -> Intake:
    """Merge rows of equal content: the first stays, the others become its `duplicates`."""
    fresh: dict[str, ImageRow] = {}
    uris: dict[str, list[str]] = {}
    found = 0
    for row in rows:
        found += 1
        uris.setdefault(row.image_id, []).append(row.uri)
        if row.image_id not in known:
            fresh.setdefault(row.image_id, row)
    merged = (dataclasses.replace(row, duplicates=tuple(uris[i][1:])) for i, row in fresh.items())
    seen = {i: tuple(places) for i, places in uris.items() if i not in fresh}
    return Intake(tuple(merged), seen, found)


def ingest(
    uris: Iterable[str],
    *,
    known: Collection[str] = (),
    threads: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> Intake:
    """`scan` and `collect` in one; `progress` is called with the number of files done."""

    def counted() -> Iterator[ImageRow]:
        for done, row in enumerate(scan(uris, known=known, threads=threads), start=1):
            progress(done)
            yield row

    return collect(counted(), known)


def moved(
    listed: Mapping[str, tuple[str, ...]], seen: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Image id -> all uris of its content, where a run lists others than these.

    `listed` has a run's uris, `seen` is that of an `Intake`. A listed uri that was not seen stays
    if its file, read again, still has this content: other folders may have been named before.
    An image that was not seen at all is left as it is.
    """
    found = {image_id: frozenset(uris) for image_id, uris in seen.items()}
    doubtful = {uri for i, uris in found.items() for uri in listed[i] if uri not in uris}
    now = {row.uri: row.image_id for row in scan(sorted(doubtful), known=listed)}
    right = {
        image_id: tuple(
            uri
            for uri in dict.fromkeys((*listed[image_id], *seen[image_id]))
            if uri in uris or now[uri] == image_id
        )
        for image_id, uris in found.items()
    }
    return {image_id: uris for image_id, uris in right.items() if uris != listed[image_id]}


def sample(source: str | Sequence[str], count: int = 16) -> list[Image]:
    """Up to `count` decoded images spread evenly over the source; unreadable files are passed by.

    Raises UserError like `discover`.
    """
    uris = list(discover(source))
    step = max(1, len(uris) // count)
    spread = chain.from_iterable(uris[start::step] for start in range(step))
    found: list[Image] = []
    for uri in islice(spread, _TRIES * count):
        if len(found) == count:
            break
        with contextlib.suppress(ImageError):
            found.append(images.opener(uri, None)())
    return found


def with_bytes(row: ImageRow) -> ImageRow:
    """The row with its file's content embedded; unreadable ones stay as they are.

    Called when a shard is packed, so that one shard of pictures is in memory and not the dataset.
    Raises ImageError when the file has changed since it was scanned.
    """
    if row.error is not None:
        return row
    data = images.read_bytes(row.uri)
    if content_id(data) != row.image_id:
        raise ImageError(f"'{row.uri}' changed while it was being ingested; build again")
    return dataclasses.replace(row, bytes=data)


def unread(uri: str, error: ImageError) -> ImageRow:
    """The row of a file whose content nobody has seen."""
    return _failed(_unread_id(uri), uri, error)


def is_unread(row: ImageRow) -> bool:
    """Whether the row is one of `unread`: the next scan that can read the file brings another."""
    return row.error is not None and row.image_id == _unread_id(row.uri)


def _unread_id(uri: str) -> str:
    return content_id(f"unreadable:{uri}".encode())


def _row(uri: str, known: Collection[str]) -> ImageRow:
    try:
        return _looked_at(uri, known)
    except MemoryError:
        return unread(uri, ImageError("not enough memory to read and decode it"))


def _looked_at(uri: str, known: Collection[str]) -> ImageRow:
    try:
        data = images.read_bytes(uri)
    except ImageError as error:
        return unread(uri, error)
    image_id = content_id(data)
    if image_id in known:
        return ImageRow(image_id, uri, (), None, None, None, None, None)
    try:
        size = images.probe(data)
    except ImageError as error:
        return _failed(image_id, uri, error)
    return ImageRow(image_id, uri, (), size.width, size.height, size.format, None, None)


def _failed(image_id: str, uri: str, error: ImageError) -> ImageRow:
    return ImageRow(image_id, uri, (), None, None, None, str(error), None)
