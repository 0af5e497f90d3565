"""Values out of JSON that others wrote: checked one by one, counted where they do not hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grand_pipeline import geometry
from grand_pipeline.errors import SourceError
from grand_pipeline.importers.notes import Notes
from grand_pipeline.types import Box, Rle, Size

_MOST = 3.4e38  # float32 ends a little later


def read_text(path: Path) -> str:
    """A file as text, in UTF-8. Raises SourceError that names it."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"cannot read '{path}': {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"'{path}' is not UTF-8 text: {error}") from None


def parse(text: str, path: Path) -> Any:
    """JSON as Python values; NaN and infinite numbers come through. Raises SourceError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"'{path}' is not valid JSON: {error}") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
    """`value` if it is a JSON object. Raises SourceError."""
    if not isinstance(value, dict):
        raise SourceError(f"{what} should be an object, not {_kind(value)}")
    return value


def listing(value: Any, what: str) -> list[Any]:
    """`value` if it is a JSON list, [] if it is null. Raises SourceError."""
    if value is not None and not isinstance(value, list):
        raise SourceError(f"{what} should be a list, not {_kind(value)}")
    return value or []


def number(value: Any) -> float | None:
    """A number that is finite in single precision, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) <= _MOST else None


def words(value: Any, notes: Notes, what: str) -> str | None:
    """A text that is not blank, or None, which is counted unless it is absent."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        notes.count(f"{what}s that are no text")
        return None
    clean = value.encode("utf-8", "replace").decode("utf-8")
    notes.count(f"{what}s with broken characters", times=int(clean != value))
    return clean


def box(value: Any, size: Size | None, notes: Notes) -> Box | None:
    """An xyxy box inside an image of `size` (height, width), or None; both are counted.

    Without a size a box is only kept out of the negative.
    """
    parts = [number(part) for part in value] if isinstance(value, list) else []
    x1, y1, x2, y2 = parts if len(parts) == 4 else (None,) * 4
    if x1 is None or y1 is None or x2 is None or y2 is None:
        notes.count("boxes that are not four numbers, left out")
        return None
    given = geometry.as_boxes([(x1, y1, x2, y2)])
    inside = (geometry.clip(given, size) if size else given.clip(min=0))[0]
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
    return (height, width) if whole else None


def _rle(value: Any) -> Rle | None:
    size = _rle_size(value)
    counts = value.get("counts") if size is not None else None
    if size is None or not counts:
        return None
    if isinstance(counts, list):
        return geometry.rle_of_runs(counts, size)
    if not isinstance(counts, str) or not counts.isascii():
        return None
    found = Rle(size, counts)
    return found if geometry.rle_fills(found) else None


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", dict: "an object", type(None): "null", bool: "a truth"}
    return names.get(type(value), "a number")
