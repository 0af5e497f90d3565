"""Where a run's files are: in a folder here, or under names that begin alike in a bucket.

A place in a bucket has that part of pathlib's interface that reading a run needs. What is written
goes through `publication`, and who may write is for `lock` to say, for both kinds of places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from grand_pipeline.storage.bucket import BucketPath
from grand_pipeline.storage.connection import Bucket

S = TypeVar("S")
T = TypeVar("T")

Place = Path | BucketPath
"""A file or folder of a run."""

_AT_ONCE = 16
_URL = re.compile(r"(s3):/+([^/]+)/*(.*?)/*$", re.DOTALL)


def place(name: str | Place) -> Place:
    """The place that a user names: `s3://bucket/run`, or a local path.

    A Path that was made of such a name has lost a stroke, and is taken for the same.
    """
    if isinstance(name, BucketPath):
        return name
    named = _URL.match(str(name))
    if named is None:
        return Path(name)
    return BucketPath(Bucket(f"{named[1]}://{named[2]}"), named[3])


def local(place: Place) -> Path | None:
    """The place as a folder of this machine; None where it is none."""
    return place if isinstance(place, Path) else None


def each(root: Place, work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """`work` done on all items, in their order; on several at once for a run in a bucket, where
    every look at a file is a journey."""
    if isinstance(root, Path):
        return [work(item) for item in items]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="bucket") as pool:
        return list(pool.map(work, items))


__all__ = ["Bucket", "BucketPath", "Place", "each", "local", "place"]
