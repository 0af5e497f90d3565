"""From what the user names (folder, glob, list, bucket) to rows of `images/`.

`discover` finds files, `scan` reads each one, `collect` merges equal contents and leaves out what
a run already has. No file disappears: one that is no readable image becomes a row with its reason.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from grand_pipeline import images
from grand_pipeline.columns import ImageRow
from grand_pipeline.errors import ImageError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_TRIES = 8
"""Files that `sample` opens at most for each image asked."""


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
    sources = [source] if isinstance(source, str) else list(source)
    outside = None if skip is None else os.path.abspath(skip)
    seen: set[str] = set()
    for name in sources:
        before = len(seen)
        for uri in _files(name, outside):
            if uri not in seen:
                seen.add(uri)
                yield uri
        if len(seen) == before and len(sources) == 1:
            raise UserError(
                f"found no files in '{name}' (looked at {_absolute(name)}; "
                "files and folders whose names begin with a dot are left out)"
            )
    if not seen:
        raise UserError(f"found no files; looked at: {', '.join(sources) or '(nothing given)'}")


def scan(
    uris: Iterable[str], *, known: Collection[str] = (), threads: int = 8
) -> Iterator[ImageRow]:
    """One row per file in the order given: hashed always, decoded unless its id is in `known`.

    Rows of known content carry no size. At most a few files per thread are in memory. Raises
    MissingDependencyError when the uris need a package that is not installed.
    """
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="ingest") as pool:
        running: deque[Future[ImageRow]] = deque()
        for uri in uris:
            running.append(pool.submit(_row, uri, known))
            if len(running) >= 2 * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


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


def _row(uri: str, known: Collection[str]) -> ImageRow:
    try:
        data = images.read_bytes(uri)
    except ImageError as error:
        return _failed(content_id(f"unreadable:{uri}".encode()), uri, error)
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


def _files(source: str, outside: str | None) -> Iterator[str]:
    if "://" in source and not source.startswith("file://"):
        return iter(_remote(source))
    path = images.local_path(source)
    if path.startswith("@") and not os.path.exists(path):
        return _listed(Path(path[1:]), outside)
    if os.path.isdir(path):
        return _walk(os.path.abspath(path), outside, set())
    if os.path.isfile(path):
        listing = path.lower().endswith(".txt")
        return _listed(Path(path), outside) if listing else iter([_uri(path)])
    if glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True))
        return chain.from_iterable(_branch(match, outside) for match in matches)
    raise UserError(f"'{source}' does not exist (looked at {_absolute(source)})")


def _branch(path: str, outside: str | None) -> Iterator[str]:
    if os.path.isdir(path):
        return _walk(os.path.abspath(path), outside, set())
    return iter([_uri(path)])


def _walk(folder: str, outside: str | None, entered: set[tuple[int, int]]) -> Iterator[str]:
    """Files below an absolute `folder`, sorted by name at each level.

    Linked folders are entered, each real folder once. What can not be listed or is a broken link
    is given out too, so that it ends as a row with a reason. Sockets and pipes are left out.
    """
    if folder == outside:
        return
    try:
        status = os.stat(folder)
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        yield _uri(folder)
        return
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, outside, entered)
        elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
            yield _uri(entry.path)


def _listed(file: Path, outside: str | None) -> Iterator[str]:
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UserError(f"cannot read the list '{file}': {error.strerror}") from None
    for line in text.splitlines():
        name = line.strip()
        if "://" in name:
            yield name
        elif name:
            yield from _branch(os.path.join(file.parent, name), outside)


def _remote(source: str) -> list[str]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(source)
        if glob.has_magic(path):
            paths = system.glob(path)
        elif system.isdir(path):
            paths = system.find(path)
        else:
            paths = [path] if system.exists(path) else []
    except ImportError as error:
        raise images.lacking_package(source, error) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot list '{source}': {error}.{images.suggested_scheme(source)}"
        ) from None
    # Hidden names count below the named folder only: the folder itself was asked for.
    base = len(str(path).rstrip("/"))
    shown = [name for name in sorted(paths) if "/." not in name[base:]]
    return [str(system.unstrip_protocol(name)) for name in shown]


def _absolute(source: str) -> str:
    return source if "://" in source else os.path.abspath(source)


def _uri(path: str) -> str:
    """Absolute path, or a `file://` URI where the name is no Unicode text for a column to hold."""
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return Path(absolute).as_uri()
    return absolute
