"""From a folder, glob, list or bucket to the uris of its files, in a fixed order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from grand_pipeline import disk, images
from grand_pipeline.errors import UserError


def files(source: str, outside: str | None) -> Iterator[str]:
    """Uris of the files that one source names; `outside` is a folder that is not entered.

    Raises UserError when it does not exist or can not be listed.
    """
    if "://" in source and not source.startswith("file://"):
        return iter(_remote(source))
    path = images.local_path(source)
    if path.startswith("@") and not os.path.exists(path):
        return _listed(Path(path[1:]), outside)
    if os.path.isfile(path) and path.lower().endswith(".txt"):
        return _listed(Path(path), outside)
    if os.path.lexists(path):
        return _branch(path, outside)
    if glob.has_magic(path):
        matches = sorted(set(_matches(path)))
        return chain.from_iterable(_branch(match, outside) for match in matches)
    raise UserError(f"'{source}' does not exist (looked at {absolute(source)})")


def absolute(source: str) -> str:
    """Where a source was looked for."""
    return source if "://" in source else os.path.abspath(source)


def _branch(path: str, outside: str | None) -> Iterator[str]:
    if os.path.isdir(path):
        return _walk(_absolute_path(path), outside)
    return iter([_uri(path)])


def _matches(pattern: str) -> Iterator[str]:
    """Paths that a glob names. `**` stands for any folders, each real one once: Python's own glob
    goes round in circles of links."""
    head, deep, tail = pattern.partition("**/")
    if not deep or (head and not head.endswith(os.sep)):
        yield from glob.glob(pattern.removesuffix("/**"))
        return
    for start in glob.glob(head) if head else [""]:
        for folder, was_listed in _folders(start or os.curdir):
            below = os.path.join(glob.escape(folder), tail.lstrip(os.sep))
            yield from _matches(below) if was_listed else [folder]


def _folders(root: str) -> Iterator[tuple[str, bool]]:
    """A folder and those below it, each real one once, and whether it could be listed."""
    entered: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            listing = _listing(folder, entered)
        except OSError:
            yield folder, False
            continue
        if listing is not None:
            yield folder, True
            waiting += [path for path, is_folder in reversed(listing) if is_folder]


def _walk(root: str, outside: str | None) -> Iterator[str]:
    """Files below an absolute folder, sorted by name at each level.

    Linked folders are entered, each real folder once. What is no file (a pipe, a device), can not
    be listed or is a broken link is given out too, so that it ends as a row with a reason.
    """
    entered: set[tuple[int, int]] = set()
    # A list of what is still to be looked at: folders may be nested deeper than calls can be.
    waiting = [(root, True)]
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            yield _uri(path)
        elif path != outside:
            try:
                waiting += reversed(_listing(path, entered) or [])
            except OSError as error:
                disk.refuse_shortage(error)
                yield _uri(path)


def _listing(folder: str, entered: set[tuple[int, int]]) -> list[tuple[str, bool]] | None:
    """Paths in a folder by name, and which are folders; None if it was `entered` before."""
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in entered:
        return None
    with os.scandir(folder) as listing:
        found = [(one.path, _is_folder(one)) for one in listing if not one.name.startswith(".")]
    entered.add((status.st_dev, status.st_ino))
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link in a circle, or through what is no folder.
        return False


def _listed(file: Path, outside: str | None) -> Iterator[str]:
    try:
        text = file.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise UserError(f"cannot read the list '{file}': {error.strerror}") from None
    for line in text.split("\n"):
        name = line.strip()
        if "://" in name and not name.startswith("file://"):
            yield name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        elif name:
            exact = (os.path.join(file.parent, one) for one in (line, line.removesuffix("\r")))
            given = os.path.join(file.parent, images.local_path(name))
            yield from _branch(next(filter(os.path.lexists, exact), given), outside)


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
    except Exception as error:  # File systems raise whatever their libraries do.
        disk.refuse_shortage(error)
        raise UserError(
            f"cannot list '{source}': {images.reason(error)}.{images.suggested_scheme(source)}"
        ) from None
    # Hidden names count below the named folder only: the folder itself was asked for.
    base = len(str(path).rstrip("/"))
    shown = [name for name in sorted(paths) if "/." not in name[base:]]
    return [str(system.unstrip_protocol(name)) for name in shown]


def _uri(path: str) -> str:
    """Absolute path, or a `file://` URI where the name is no Unicode text for a column to hold."""
    absolute = _absolute_path(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return Path(absolute).as_uri()
    return absolute


def _absolute_path(path: str) -> str:
    """What `..` means behind a link only the file system knows; other links stay as named."""
    folder, name = os.path.split(path)
    if os.pardir in (name, *folder.split(os.sep)):
        path = os.path.realpath(path) if name == os.pardir else f"{os.path.realpath(folder)}/{name}"
    return os.path.abspath(path)
