"""An object of a bucket as a file to read from, all of it of one version."""

from __future__ import annotations

import os
from typing import Any

_TAIL = 1 << 18
"""Bytes at the end that the first request brings: the whole of a small file, or its footer."""


class Superseded(OSError):
    """Another version has taken the object's name since it was opened."""


class Pinned:
    """What Arrow needs of a file. `failure` is what a request has raised, whoever swallowed it."""

    closed = False

    def __init__(self, obs: Any, store: Any, key: str) -> None:
        self._obs, self._store, self._key = obs, store, key
        self.failure: Exception | None = None
        got = self._opened()
        self._version, self._size = got.meta["e_tag"], int(got.meta["size"])
        self._tail = bytes(got.bytes())
        self._at = 0

    def _opened(self) -> Any:
        last = {"range": {"suffix": _TAIL}}
        try:
            return self._obs.get(self._store, self._key, options=last)
        except self._obs.exceptions.GenericError:
            # No part of an empty object can be had.
            if self._obs.head(self._store, self._key)["size"] > 0:
                raise
            return self._obs.get(self._store, self._key)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go there; returns where that is."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = origin[whence] + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, all that are left for -1. Raises Superseded."""
        end = self._size if count < 0 else min(self._at + count, self._size)
        start, self._at = self._at, max(self._at, end)
        if start >= end:
            return b""
        first = self._size - len(self._tail)
        before = b"" if start >= first else self._fetched(start, min(end, first))
        return before + self._tail[max(0, start - first) : max(0, end - first)]

    def _fetched(self, start: int, end: int) -> bytes:
        pinned = {"range": (start, end), "if_match": self._version}
        try:
            return bytes(self._obs.get(self._store, self._key, options=pinned).bytes())
        except (self._obs.exceptions.PreconditionError, FileNotFoundError):
            self.failure = Superseded(f"'{self._key}' is another version now")
        except Exception as error:
            self.failure = error
        raise self.failure

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Nothing is held."""
