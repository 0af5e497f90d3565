"""Decoders say what is wrong with a picture where they raise it, and not on stderr too."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module


def mute() -> None:
    """Have Pillow, and libtiff in it, not write to stderr, amid the progress display, what Pillow
    raises anyway. Handlers of a program's own still get what Pillow logs."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):  # Where Pillow holds libtiff out of reach.
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_lock = threading.Lock()
_depth = 0
_filters = warnings.catch_warnings()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd metadata) while any thread decodes.

    `catch_warnings` swaps a global list, so overlapping uses in threads would restore it in the
    wrong order; the first thread in swaps it and the last one out restores it.
    """
    global _depth, _filters
    with _lock:
        if _depth == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _filters.__exit__(None, None, None)
