"""A disk that is full, closed, failing or gone: never an image's fault, and said in one sentence.

The system says what went wrong and seldom where; what was to be done, how much room there is and
what helps is added here.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from grand_pipeline.errors import DiskError, GrandError

_MB = 2**20
_FREE = "free some"
_OPEN = "make it writable for this user"
_SEE = "see that the disk, mount or file server is there and well"
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: "free some of the quota or have it raised",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "this machine has too many open files; close other programs",
    errno.EROFS: _OPEN,
    errno.EACCES: _OPEN,
    errno.EPERM: _OPEN,
    errno.EIO: _SEE,
    errno.ENXIO: _SEE,
    errno.ENODEV: _SEE,
    errno.ESTALE: _SEE,
    errno.ENOTCONN: _SEE,
    errno.ENOENT: _SEE,
    errno.ENOTDIR: _SEE,
    errno.EISDIR: _SEE,
}
_SHORTAGES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS}
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CODE = re.compile(r"\(os error (\d{1,3})\)")


def knows(error: OSError) -> bool:
    """Whether an error is one of files and disks, for which `told` has a remedy."""
    return error.errno in _REMEDIES


def refuse_shortage(error: BaseException) -> None:
    """Raises the OSError or DiskError, which `error` is or came from, that is no file's own fault.

    This machine lacks what it takes, whatever was to be read or written. Reading a picture fails
    so too, where its file system keeps a copy on a disk that is full.
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, DiskError):
            raise cause
        if isinstance(cause, OSError) and cause.errno in _SHORTAGES:
            raise cause
        cause = cause.__cause__ or cause.__context__


def told(error: OSError, place: object = None) -> str:
    """What happened, where (the error's file, else `place`), what room there is, what to do."""
    name = error.filename if isinstance(error.filename, str) else place
    where = "" if name is None else f" at '{name}'"
    room = _room(str(name)) if name is not None and error.errno in _FULL else ""
    remedy = _REMEDIES.get(error.errno or 0, _SEE)
    return f"{error.strerror or error}{where}{room}; {remedy}, and run the same command again"


@contextmanager
def guarded(place: object) -> Iterator[None]:
    """Work on the run or folder at `place`. Raises DiskError for what its disk, or another, can not
    do."""
    try:
        yield
    except GrandError:
        raise
    except Exception as error:
        fault = error if isinstance(error, OSError) else _quoted(error)
        if fault is None or not knows(fault):
            raise
        raise DiskError(f"{told(fault, place)}: what is complete is kept") from error


def _quoted(error: Exception) -> OSError | None:
    """What the system said, where a library only quotes it, as those written in Rust do."""
    code = _CODE.search(str(error))
    return None if code is None else OSError(int(code[1]), os.strerror(int(code[1])))


def _room(name: str) -> str:
    """How much is free where `name` is or would be; empty where nobody knows."""
    path = Path(name).absolute()
    try:
        there = next(above for above in (path, *path.parents) if above.exists())
        room, counts = shutil.disk_usage(there), os.statvfs(there)
    except (OSError, ValueError, StopIteration):
        return ""
    files = ", and no more files" if counts.f_files and not counts.f_favail else ""
    return f" ({room.free / _MB:,.1f} of {room.total / _MB:,.1f} MB are free there{files})"
