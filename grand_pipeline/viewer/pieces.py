"""Texts cut where their spans begin and end, ready to be shown and lit up piece by piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any


def pieces(text: str, spans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The text in pieces, in order; `ids` are the objects of all spans over a piece.

    Cut here and not in the browser, whose offsets count UTF-16 and not characters. Spans that lie
    outside the text, as a hand-made run may have them, are cut to it.
    """
    size = len(text)
    held = [(max(0, s["start"]), min(size, s["end"]), s["object_ids"] or ()) for s in spans]
    cuts = sorted({0, size, *(at for a, b, _ in held if a < b for at in (a, b))})
    found = []
    for a, b in pairwise(cuts):
        over = {number for start, end, ids in held if start <= a and b <= end for number in ids}
        found.append({"text": text[a:b], "ids": sorted(over)})
    return found
