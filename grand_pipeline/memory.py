"""What a process may ask for and holds of main memory. Linux; elsewhere nothing is bounded."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_GROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def machine() -> int:
    """Bytes that this machine, or the container that stands for it, has in all."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(size for path in _GROUPS if (size := _number(path)) > 0)])


def resident() -> int:
    """Bytes that this process holds; 0 where the system does not say."""
    return _statm(1)


def bound(limit: int) -> None:
    """Let this process grow from what it holds now to `limit` bytes and no further.

    Beyond it the system refuses memory, which Python raises as MemoryError. Counted is what is
    asked for from now on, used or not; files and memory shared with others are not.
    """
    if sys.platform.startswith("linux"):
        _set(_statm(5) + max(0, limit - resident()))


def unbound() -> None:
    """Lift what `bound` has set."""
    if sys.platform.startswith("linux"):
        _set(resource.getrlimit(resource.RLIMIT_DATA)[1])


def _set(soft: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    within = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (within, hard))


def _statm(field: int) -> int:
    """A field of /proc/self/statm in bytes: 1 is what is resident, 5 what is the process's own."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[field])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _number(path: Path) -> int:
    """The number in a file; 0 where there is none."""
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return 0
