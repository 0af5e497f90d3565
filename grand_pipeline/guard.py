"""What decoders let through: work without bounds, and pictures of which a part is missing.

The limit of pixels (`images.MAX_PIXELS`) leaves open work that is repeated over the same pixels,
and many of the largest pictures at once. And a file whose end was never written, such as a broken
download that holds zeros, may decode to half a picture and grey.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from grand_pipeline import heap
from grand_pipeline.errors import ImageError

MAX_SCANS = 100
"""Passes over a JPEG's pixels; encoders write about ten. It is libtiff's own limit, too."""

PIXELS_AT_ONCE = 178_000_000
"""Pixels that all threads decode at any moment. A larger picture is decoded alone."""

_LARGE = PIXELS_AT_ONCE // 4
"""Before pictures of more pixels, what the last ones left in the heaps of their threads is given
back: each thread would keep a picture's worth."""

_PATIENCE = 300.0
"""Seconds after which a picture is decoded all the same: a decoder may be stuck."""

_JPEG = b"\xff\xd8"
_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")

_PNG = b"\x89PNG\r\n\x1a\n"

_PNM = re.compile(rb"P[1-6fFy]\s")
_PNM_SIZE = re.compile(rb"P[1-6fFy](?:(?:\s|#[^\r\n]*[\r\n])+[-+.\w]{1,20}){2}")
_PNM_START = 65_536


def check(data: bytes) -> None:
    """Raises ImageError for a file that its decoder would not be done with in sensible time, and
    for one whose own marks say that pixels are missing or wrong."""
    if data.startswith(_JPEG):
        _check_jpeg(data)
    elif data.startswith(_PNG):
        _check_png(data)
    elif _PNM.match(data) and _PNM_SIZE.match(data[:_PNM_START]) is None:
        raise ImageError(f"damaged or truncated: no size in the first {_PNM_START} bytes of a PPM")


def _check_jpeg(data: bytes) -> None:
    frame = scan = None
    for kind, at in _markers(data):
        frame = at if kind in _FRAMES else frame
        if kind == _SCAN:
            scan = at
            break
    if frame is None or scan is None:
        return  # For the decoder to refuse.
    if data.rfind(bytes([0xFF, _END]), scan) < 0:
        raise ImageError("damaged or truncated: a JPEG without its end; the rest may be missing")
    all_components = data[scan + 4 : scan + 5] >= data[frame + 9 : frame + 10]
    if all_components and data[frame + 1] not in _PROGRESSIVE:
        return  # One scan is all that is read.
    if data.count(bytes([0xFF, _SCAN])) <= MAX_SCANS:
        return  # Bytes are counted faster than markers, and never too few.
    count = sum(kind == _SCAN for kind, _ in _markers(data))
    if count > MAX_SCANS:
        raise ImageError(
            f"decompression bomb: a JPEG of {count} scans, more than the limit of {MAX_SCANS}"
        )


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and place of the segments of a JPEG's first picture; what stands in its metadata, such
    as a preview, and what follows its end are not part of it."""
    at = len(_JPEG)
    while found := _MARKER.search(data, at):
        kind = data[found.end() - 1]
        if kind == _END:
            return
        yield kind, found.start()
        at = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2]))


def _check_png(data: bytes) -> None:
    """Pillow checks all checksums of a PNG but those of its pixels."""
    view, at = memoryview(data), len(_PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(view[at : at + 4])
        end = at + 8 + size
        is_pixels = data.startswith(b"IDAT", at + 4)
        if is_pixels and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ImageError("damaged or truncated: the pixels of a PNG do not fit their checksum")
        at = end + 4


_room = threading.Condition()
_decoding = 0


@contextmanager
def room(pixels: int) -> Iterator[None]:
    """Wait until so many more pixels may be decoded. The largest pictures come one at a time."""
    global _decoding
    with _room:
        _room.wait_for(
            lambda: _decoding == 0 or _decoding + pixels <= PIXELS_AT_ONCE, timeout=_PATIENCE
        )
        _decoding += pixels
    if pixels > _LARGE:
        heap.trim()
    try:
        yield
    finally:
        with _room:
            _decoding -= pixels
            _room.notify_all()
