"""Texts as GranD left them: speakers' names before them, and phrases to be found in captions."""

from __future__ import annotations

import re
from functools import lru_cache

from grand_pipeline import spans
from grand_pipeline.spans import Offsets

_SPEAKER = re.compile(r"\s*(?:#+\s*)?([A-Za-z]+)\s*:\s*")


def without_speaker(text: str) -> tuple[str, bool]:
    """The text after a speaker's name ("Assistant:", cut to "istant:" in some files), and whether
    there was one."""
    found = _SPEAKER.match(text)
    if found is None:
        return text.strip(), False
    name = found[1].lower()
    cut = len(name) > 2 and "assistant".endswith(name)
    if cut or name in ("human", "user", "gpt"):
        return text[found.end() :].strip(), True
    return text.strip(), False


def places(text: str, phrase: str) -> list[Offsets]:
    """Every place of a phrase in a text: as whole words in any case, else whatever its spacing.

    Phrases were put together from tokens, so that "the man's hat" may read "the man 's hat".
    """
    wanted = spans.nfc(phrase)
    loose = _loose(text, "".join(_folded(wanted).split()))
    # Whatever stands there as words stands there in any spacing, which is found out in one go.
    return (spans.find_all(text, wanted) or loose) if loose else []


def _loose(text: str, signs: str) -> list[Offsets]:
    """Every occurrence as whole words of folded characters, whatever blanks are between them."""
    squeezed, at = _squeezed(text)
    found: list[Offsets] = []
    start = squeezed.find(signs) if signs else -1
    while start >= 0:
        first, last = at[start], at[start + len(signs) - 1]
        beside = text[max(0, first - 1) : first], text[last + 1 : last + 2]
        whole = not any(mark.isalnum() or mark == "_" for mark in beside)
        if whole:
            found.append((first, last + 1))
        start = squeezed.find(signs, start + (len(signs) if whole else 1))
    return found


@lru_cache(maxsize=16)
def _squeezed(text: str) -> tuple[str, tuple[int, ...]]:
    """A text without blanks and without case, and where each character of it stood."""
    at = tuple(place for place, mark in enumerate(text) if not mark.isspace())
    return _folded("".join(text[place] for place in at)), at


def _folded(text: str) -> str:
    """The text without case, as long as it was: a few letters would become two."""
    if text.isascii():
        return text.lower()
    ways = ((mark.casefold(), mark.lower(), mark) for mark in text)
    return "".join(next(way for way in each if len(way) == 1) for each in ways)


def place(text: str, phrase: str, given: object) -> tuple[Offsets | None, bool]:
    """Where a phrase stands: at the offsets `given` if they hold, else as near to them as it does.

    The second value says whether the given offsets held.
    """
    start = end = -1
    if isinstance(given, list) and len(given) == 2 and all(type(n) is int for n in given):
        start, end = given
    wanted = spans.nfc(phrase)
    if 0 <= start < end <= len(text) and text[start:end].casefold() == wanted.casefold():
        return (start, end), True
    found = places(text, wanted)
    if not found:
        return spans.locate(text, wanted, max(start, 0)), False
    return min(found, key=lambda at: (abs(at[0] - max(start, 0)), at)), False
