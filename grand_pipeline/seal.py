"""A file that carries the checksum of its own bytes, so that no flipped bit goes unseen.

The writer leaves a mark, `grand-seal:` and 64 zeros, somewhere near the file's end: in the footer
of a Parquet file, as a value in JSON. When the file is complete, the SHA-256 of all its bytes is
put in place of the zeros. A reader puts the zeros back and compares. So the checksum covers data,
footer and magic alike, needs no second file, and readers that know nothing of it see one more
piece of metadata. It finds accidents, not forgers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO

KEY = "seal"
"""Under this key the mark stands in a Parquet footer and in run.json."""
_MARK = b"grand-seal:"
_DIGITS = 64
_ZEROS = b"0" * _DIGITS
BLANK = (_MARK + _ZEROS).decode()
"""What the writer leaves for `close` to fill in."""
_WINDOW = 1 << 20
_CHUNK = 1 << 22


def close(file: BinaryIO) -> None:
    """Fill in the mark of a completely written file, open for reading and writing.

    Raises ValueError when the last mark within the file's last MiB is not blank.
    """
    at = _find(file)
    if at is None or _read(file, at, _DIGITS) != _ZEROS:
        raise ValueError("the file to be sealed has no blank mark near its end")
    digest = _digest(file, at)
    file.seek(at)
    file.write(digest)


def fault(file: BinaryIO) -> str | None:
    """What is wrong with the bytes of a sealed file; None when they are as they were written.

    Reads the file once, in pieces. Raises OSError when it can not be read.
    """
    at = _find(file)
    if at is None:
        return "carries no checksum: cut short, its footer overwritten, or not written by grand"
    if _read(file, at, _DIGITS) != _digest(file, at):
        return "its bytes are not those that were written"
    return None


def _find(file: BinaryIO) -> int | None:
    """Where the digits of the last mark begin."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _WINDOW)
    found = _read(file, start, size - start).rfind(_MARK)
    return None if found < 0 else start + found + len(_MARK)


def _digest(file: BinaryIO, at: int) -> bytes:
    """SHA-256 of the file with zeros for the digits at `at`, in hex."""
    total = hashlib.sha256()
    file.seek(0)
    for piece in _pieces(file, at):
        total.update(piece)
    total.update(_ZEROS)
    file.seek(at + _DIGITS)
    for piece in _pieces(file, None):
        total.update(piece)
    return total.hexdigest().encode()


def _pieces(file: BinaryIO, count: int | None) -> Iterator[bytes]:
    """The next `count` bytes (None: all that is left) in pieces."""
    while count is None or count > 0:
        piece = file.read(_CHUNK if count is None else min(_CHUNK, count))
        if not piece:
            return
        count = None if count is None else count - len(piece)
        yield piece


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)
