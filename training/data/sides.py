"""Words for left and right in texts of mirrored pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from grand_pipeline.types import Span

_SIDE = re.compile(
    r"\b(?:(?P<left>left)|(?P<right>right))"
    # "right next to", "left behind", "right angle": no sides
    r"(?!\s+(?:next|now|after|before|in\s+front|above|below|away|there|here|over|behind|at\b|angle))"
    r"(?=(?:-?(?:hand|handed|most|ward|wards|side|sided))?(?!\w))",
    re.IGNORECASE,
)


def says_side(text: str) -> bool:
    """Whether a text speaks of left or right, so that mirroring the picture changes it."""
    return _SIDE.search(text) is not None


def mirrored(text: str) -> str:
    """The text with left and right exchanged, the case of the words kept.

    Words are known by their spelling: "left" as in "has left" is exchanged too, but not where the
    next word tells ("right next to", "left behind").
    """
    return _SIDE.sub(lambda found: _other(found.group()), text)


def mirrored_spans(text: str, spans: Sequence[Span]) -> tuple[str, tuple[Span, ...]]:
    """`mirrored`, and the spans moved so that each holds the mirrored words of what it held."""
    cuts = [found.span() for found in _SIDE.finditer(text)]

    def moved(offset: int) -> int:
        # "left" grows by one character and "right" shrinks by one. An offset inside of such a word
        # stays as far from its start as the new word allows.
        place = offset
        for start, end in cuts:
            longer = 1 if end - start == len("left") else -1
            if end <= offset:
                place += longer
            elif start < offset:
                place = min(place, place - offset + end + longer)
        return place

    swapped = tuple(replace(s, start=moved(s.start), end=moved(s.end)) for s in spans)
    return mirrored(text), swapped


def _other(word: str) -> str:
    other = "right" if word.lower() == "left" else "left"
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
