"""Pictures of a run for a browser: decoded and written anew, so that no file is served as it is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from grand_pipeline import images
from grand_pipeline.viewer.listing import Listing
from grand_pipeline.viewer.listing import images as image_rows

SIZES = {"small": 360, "large": 1600}
"""Name -> the longer side of a picture in pixels, at most."""

_QUALITY = 88
_AT_ONCE = 2
_decoding = threading.BoundedSemaphore(_AT_ONCE)


@dataclass
class Cache:
    """Bytes by key, the least recently used of them dropped beyond `limit` bytes."""

    limit: int
    held: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    size: int = 0

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """What is held under `key`, or is made now."""
        with self.lock:
            if key in self.held:
                self.held.move_to_end(key)
                return self.held[key]
        made = make()
        with self.lock:
            self.size += len(made) - len(self.held.pop(key, b""))
            self.held[key] = made
            while self.size > self.limit and self.held:
                self.size -= len(self.held.popitem(last=False)[1])
        return made


def jpeg(listed: Listing, number: int, longest: int) -> bytes:
    """The picture of a number as a JPEG, its longer side at most `longest` pixels.

    Raises ImageError when its file is gone or is no picture.
    """
    [row] = image_rows(listed, number, number + 1, "bytes")
    scale = min(1.0, longest / max(row["width"] or 1, row["height"] or 1, 1))
    # A few at a time: large pictures take hundreds of MiB while they are decoded.
    with _decoding:
        picture = images.opener(row["uri"], row["bytes"])(scale=scale)
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
    coded = BytesIO()
    picture.save(coded, "JPEG", quality=_QUALITY)
    return coded.getvalue()
