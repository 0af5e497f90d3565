"""Texts as GranD left them: speakers' names before them, and phrases to be found in captions."""

from __future__ import annotations

import re

from grand_pipeline import spans
from grand_pipeline.spans import Offsets

_SPEAKER = re.compile(r"\s*#*\s*([A-Za-z]+)\s*:\s*")
_LOOSE_LIMIT = 400


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
    exact = spans.find_all(text, spans.nfc(phrase))
    if exact:
        return exact
    signs = "".join(spans.nfc(phrase).split())
    if not signs or len(signs) > _LOOSE_LIMIT:
        return []
    loose = r"\s*".join(map(re.escape, signs))
    pattern = rf"(?<!\w){loose}(?!\w)"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


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
