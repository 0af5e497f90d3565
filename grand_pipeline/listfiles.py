"""Lists that stand in a file of their own: the words a tagger knows, thresholds per word.

An option, or an item of a list, that reads `file:PATH` is replaced by what the file holds, so the
content and not the path is recorded with a run, and decides what has to be computed again.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from grand_pipeline.errors import SettingsError

PREFIX = "file:"


def expand(value: Any, folder: Path) -> Any:
    """`value` with every `file:PATH` replaced by the file's list; inside a list its items are put
    in its place. Relative paths start at `folder`. Raises SettingsError as `read` does."""
    if isinstance(value, dict):
        return {key: expand(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        parts = [(item, expand(item, folder)) for item in value]
        return [x for item, new in parts for x in (new if _is_reference(item) else [new])]
    return read(value, folder) if _is_reference(value) else value


def read(reference: str, folder: Path) -> list[str] | list[float]:
    """The list in the file that `file:PATH` names.

    A `.json` file holds one array of strings or of numbers; any other file has an item per line,
    empty lines not counted. Lines that are all finite numbers are numbers. Raises SettingsError for
    a file that can not be read so.
    """
    path = folder / reference.removeprefix(PREFIX).strip()
    try:
        path = folder / Path(reference.removeprefix(PREFIX).strip()).expanduser()
        if path.exists() and not path.is_file():
            raise OSError("it is a folder, pipe or device")
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"'{reference}' names the file '{path}', which can not be read: {error}. Give a text "
            "file with an item per line, or a JSON array"
        ) from None
    items = _array(text, reference) if path.suffix == ".json" else _lines(text)
    if not items:
        raise SettingsError(f"'{reference}' names the file '{path}', which holds nothing")
    return items


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def _lines(text: str) -> list[str] | list[float]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        numbers = [float(line) for line in lines]
    except ValueError:
        return lines
    return numbers if all(map(math.isfinite, numbers)) else lines  # "nan" and "inf" are words, too.


def _array(text: str, reference: str) -> list[str] | list[float]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:  # Wrong, a number too long, nested too deep.
        raise SettingsError(f"'{reference}' is not valid JSON: {error}") from None
    if not isinstance(items, list):
        raise SettingsError(f"'{reference}' must hold an array, not {type(items).__name__}")
    if all(isinstance(item, str) for item in items):
        return items
    if all(_is_number(item) for item in items):
        return [float(item) for item in items]
    raise SettingsError(f"'{reference}' must hold strings alone or numbers alone")


def _is_number(item: Any) -> bool:
    """Finite, and not too large for a float."""
    number = isinstance(item, int | float) and not isinstance(item, bool)
    return number and abs(item) <= sys.float_info.max
