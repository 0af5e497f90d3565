"""Values out of JSON that others wrote: checked one by one, counted where they do not hold.

Everything has a bound, far above what GranD's models write: a file may come from anybody, and what
it makes of memory and time must not be its author's choice.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grand_pipeline import geometry
from grand_pipeline.errors import SourceError
from grand_pipeline.images import MAX_PIXELS
from grand_pipeline.importers.notes import Notes
from grand_pipeline.types import Box, Rle, Size

FILE_BYTES = 64 * 2**20
"""The largest file that is read; as Python values it takes up to 30 times as much."""
IMAGE_BYTES = 8_000_000
"""The most that is taken of one image: 256 of them still fit into a column of texts (2 GiB)."""
ENTRIES = 2000
"""The most objects, detections or phrases of an image: some steps look at all pairs of them."""
VALUES = 10_000
"""The most attributes, votes, uses or the like that an image gets."""
NAME_LENGTH = 1000
"""The longest label, phrase or attribute, in characters."""
TEXT_LENGTH = 20_000
"""The longest caption or other text."""

_DEPTH = 32  # of lists in lists; GranD's files have 6
_MOST = 3.4e38  # float32 ends a little later
_RUNS = re.compile("(?:[P-o]{0,5}[0-O])+")
"""Runs of up to 30 bits each, more than an image has pixels: readers of COCO masks differ in what
longer ones mean."""


def read_bytes(path: Path, most: int = FILE_BYTES) -> bytes:
    """A file's content. Raises SourceError for one that can not be read or has more than `most`."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise SourceError(f"cannot read '{path}': {error.strerror or error}") from None
    if len(data) > most:
        raise SourceError(f"'{path}' is too large: files of up to {most:,} bytes are read")
    return data


def read_text(path: Path, most: int = FILE_BYTES) -> str:
    """A file as text, in UTF-8. Raises SourceError that names it."""
    data = read_bytes(path, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"'{path}' is not UTF-8 text: {error}") from None


def parse(text: str, path: Path) -> Any:
    """JSON as Python values; NaN and infinite numbers come through.

    Raises SourceError, also for a key that stands twice in an object, and for lists in lists that
    are deeper than anything GranD writes.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unequal)
        deep = _is_deep(value)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"'{path}' is not valid JSON: {error}") from None
    if deep:
        raise SourceError(f"'{path}' has lists or objects more than {_DEPTH} deep in each other")
    return value


def _unequal(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different; of two equal ones, one would be lost in silence."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEPTH):
        inner = (v.values() if isinstance(v, dict) else v for v in level)
        level = [part for parts in inner for part in parts if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def shown(value: object) -> str:
    """A value as errors show it: in short."""
    return reprlib.repr(value)


def keys_shown(value: dict[str, Any]) -> str:
    """The first keys of an object."""
    return ", ".join(map(shown, list(value)[:8])) or "none"


def mapping(value: Any, what: str) -> dict[str, Any]:
    """`value` if it is a JSON object. Raises SourceError."""
    if not isinstance(value, dict):
        raise SourceError(f"{what} should be an object, not {_kind(value)}")
    return value


def listing(value: Any, what: str) -> list[Any]:
    """`value` if it is a JSON list of at most `ENTRIES`, [] if it is null. Raises SourceError."""
    if value is not None and not isinstance(value, list):
        raise SourceError(f"{what} should be a list, not {_kind(value)}")
    if value is not None and len(value) > ENTRIES:
        raise SourceError(f"{what} has {len(value):,} entries; up to {ENTRIES:,} are read")
    return value or []


def bounded(count: int, what: str) -> None:
    """Raise SourceError where an image would get more than `VALUES` of something."""
    if count > VALUES:
        raise SourceError(f"{count:,} {what} of one image; up to {VALUES:,} are read")


def number(value: Any) -> float | None:
    """A number that is finite in single precision, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) <= _MOST else None


def words(value: Any, notes: Notes, what: str, most: int = NAME_LENGTH) -> str | None:
    """A text that is not blank nor longer than `most`, or None, which is counted unless it is
    absent."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        notes.count(f"{what}s that are no text")
        return None
    if len(value) > most:
        notes.count(f"{what}s of more than {most} characters, left out")
        return None
    clean = value.encode("utf-8", "replace").decode("utf-8")
    notes.count(f"{what}s with broken characters", times=int(clean != value))
    return clean


def box(value: Any, size: Size | None, notes: Notes) -> Box | None:
    """An xyxy box inside an image of `size` (height, width), or None; both are counted.

    Without a size a box is kept out of the negative, and inside what an image can be.
    """
    parts = map(number, value) if isinstance(value, list) and len(value) == 4 else (None,) * 4
    x1, y1, x2, y2 = parts
    if x1 is None or y1 is None or x2 is None or y2 is None:
        notes.count("boxes that are not four numbers, left out")
        return None
    given = geometry.as_boxes([(x1, y1, x2, y2)])
    inside = geometry.clip(given, size or (MAX_PIXELS, MAX_PIXELS))[0]
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        notes.count("boxes that are empty or outside the image, left out")
        return None
    notes.count("boxes cut to the image", times=int((inside != given[0]).any()))
    return geometry.as_box(inside)


def rle(value: Any, size: Size | None, notes: Notes) -> Rle | None:
    """A mask whose runs fill an image of `size`, or None, which is counted unless it is absent.

    Runs are given as COCO's compressed text or as a list of lengths.
    """
    if value is None:
        return None
    found = _rle(value)
    if found is None or (size is not None and found.size != size):
        notes.count("masks that do not fit their image, left out")
        return None
    return found


def size_of_masks(entries: Iterable[Any], key: str) -> Size | None:
    """(height, width) of the first whole mask under `key`, or None."""
    masks = (rle(e.get(key), None, Notes()) for e in entries if isinstance(e, dict))
    return next((mask.size for mask in masks if mask is not None), None)


def _rle_size(value: Any) -> Size | None:
    sides = value.get("size") if isinstance(value, dict) else None
    if not isinstance(sides, list) or len(sides) != 2:
        return None
    height, width = sides
    whole = type(height) is int and type(width) is int and height > 0 and width > 0
    return (height, width) if whole and height * width <= MAX_PIXELS else None


def _rle(value: Any) -> Rle | None:
    size = _rle_size(value)
    counts = value.get("counts") if size is not None else None
    if size is None or not counts:
        return None
    if isinstance(counts, list):
        return geometry.rle_of_runs(counts, size)
    if not isinstance(counts, str) or not _RUNS.fullmatch(counts):
        return None
    found = Rle(size, counts)
    return found if geometry.rle_fills(found) else None


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", dict: "an object", type(None): "null", bool: "a truth"}
    return names.get(type(value), "a number")
