"""What a worker leaves behind when its process dies: which images it had in work, and of what.

A worker notes the images before it turns to them, in a file of its own that the driver can read.
Python's faulthandler appends to it when the process crashes, and when an image takes too long: its
watch is a thread of C, so that a library that never comes back can not hold it up. A process that
ends by `os._exit` or SIGKILL says nothing; what it had in work is known all the same.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READ = 64 * 1024  # bytes; what follows is more of the same stack
_CRASH = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
_LATE = re.compile(r"^Timeout \(", re.MULTILINE)


@dataclass(frozen=True)
class Words:
    """What is known of a death."""

    images: tuple[int, ...] = ()
    """Places in the shard of the images in work; empty where none was, or nothing is known."""
    cause: str = ""
    """The class of the error and what happened; empty where nobody knows."""
    sure: bool = False
    """Whether the process itself has said so."""


class LastWords:
    """The worker's side. One per process, because a process has one faulthandler."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        faulthandler.enable(self._file)

    @contextmanager
    def about(self, images: Sequence[int], seconds: float) -> Iterator[None]:
        """While these are in work; the process ends after `seconds`, 0 for never."""
        self._note(images, seconds)
        if seconds > 0:
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._note((), 0)

    def _note(self, images: Sequence[int], seconds: float) -> None:
        os.lseek(self._file, 0, os.SEEK_SET)
        os.ftruncate(self._file, 0)
        os.write(self._file, json.dumps([list(images), seconds]).encode() + b"\n")


def read(path: Path) -> Words:
    """The driver's side, when the process is dead. Nothing readable is nothing known."""
    try:
        with path.open("rb") as file:
            first, _, rest = file.read(_READ).decode("utf-8", "replace").partition("\n")
        images, seconds = json.loads(first)
    except (OSError, ValueError):
        return Words()
    cause = _cause(rest, seconds)
    return Words(tuple(images), cause, sure=bool(cause))


def _cause(text: str, seconds: float) -> str:
    crash = _CRASH.search(text)
    if crash is not None:
        return f"WorkerDied: {crash[1]}"
    if _LATE.search(text):
        return f"TimedOut: no result after {seconds:g} s (see limits.image_seconds)"
    return ""
