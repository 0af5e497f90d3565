"""Leaving parts of a scene graph's text out, without cutting a line in two."""

from __future__ import annotations

from collections.abc import Sequence

from grand_pipeline.types import LAYERS

_BLOCKS = ("Phrases:", "Captions:", "Counts:")
"""Headers of the blocks that are given up, in this order, before any object is."""


def shortened(text: str, drop: int) -> str:
    """The text of a scene graph without its `drop` least important lines.

    Lines go one by one: phrases, captions, counts, each from the last to the first, then the groups
    of objects from far to near. The landmark, and lines of any other kind, stay. A header
    goes with the last line under it. Dropping more lines than can go drops all that can.
    """
    lines = text.split("\n")
    headers = _headers(lines)
    gone = set(_order(lines, headers)[:drop])
    full = {headers[n] for n in range(len(lines)) if headers[n] != n and n not in gone}
    emptied = {headers[n] for n in gone} - full
    return "\n".join(line for n, line in enumerate(lines) if n not in gone | emptied)


def droppable(text: str) -> int:
    """How many lines `shortened` can drop."""
    lines = text.split("\n")
    return len(_order(lines, _headers(lines)))


def _headers(lines: Sequence[str]) -> list[int]:
    """For each line the position of the header it stands under; headers, and lines under none,
    stand under themselves."""
    known = {*_BLOCKS, *(f"{layer}:" for layer in LAYERS)}
    found: list[int] = []
    current: int | None = None
    for number, line in enumerate(lines):
        if line in known:
            current = number
        elif not line.startswith("- "):
            current = None
        found.append(number if current is None else current)
    return found


def _order(lines: Sequence[str], headers: Sequence[int]) -> list[int]:
    """Positions of the lines that can go, least important first."""
    blocks = [*_BLOCKS, *(f"{layer}:" for layer in reversed(LAYERS))]
    inside = [n for n, header in enumerate(headers) if header != n]
    return sorted(inside, key=lambda n: (blocks.index(lines[headers[n]]), -n))
