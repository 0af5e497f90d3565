"""How a process that runs models treats its memory.

The C library gives large blocks back to the system as soon as they are freed and asks for fresh
ones at the next call. A model on a CPU does that thousands of times per image, and every fresh page
costs a fault: more than a tenth of all model time. Kept for the next call, it costs nothing.

Python's collector looks again and again at everything that is alive: with a model and its libraries
loaded that is more than a million objects which never die.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 512 * 1024 * 1024
"""Freed memory at the end of the heap that a process keeps at most."""
_LARGEST_BLOCK = 32 * 1024 * 1024  # glibc takes no higher limit for blocks of the heap


def keep() -> bool:
    """Keep freed memory for the next call, up to `KEPT_BYTES`; True where that is possible.

    On another C library than glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_MMAP_THRESHOLD, _LARGEST_BLOCK), (_TRIM_THRESHOLD, KEPT_BYTES))
    return all(mallopt(name, value) == 1 for name, value in wanted)


def trim() -> None:
    """Give back what is free in the heaps of all threads, where the C library is glibc."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def settle() -> None:
    """Hide what is alive by now, libraries and models, from Python's collector.

    It still collects what comes later. To be called whenever a model has been loaded; what was
    hidden before and has died since is collected first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
