"""Spans over text: offsets that always cut out what they promise.

A span is `(start, end)`, half-open character offsets. Text is Unicode NFC.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from grand_pipeline.types import Span

Offsets = tuple[int, int]
_CLOSING = frozenset(".,;:!?")
_DETERMINERS = (
    *("a", "an", "the", "this", "that", "these", "those"),
    *("one", "two", "three", "four", "five", "six"),
)

_LONGEST = max(map(len, _DETERMINERS))


def nfc(text: str) -> str:
    """The text in Unicode normal form C."""
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=4096)
def _pattern(phrase: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=64)
def _folded(text: str) -> str | None:
    """The text in lower case with single blanks, which is searched faster than by a pattern that
    has to be compiled first; None where folding case is not plain."""
    return " ".join(text.lower().split()) if text.isascii() else None


@lru_cache(maxsize=65536)
def _wanted(phrase: str) -> str | None:
    """A phrase in the form in which `_folded` texts are searched, None where that is not plain."""
    return " ".join(phrase.lower().split()) if phrase.isascii() else None


def _occurrences(text: str, phrase: str) -> list[Offsets]:
    """Every occurrence as whole words, none overlapping another."""
    found: list[Offsets] = []
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        whole = not (_is_letter(text[max(0, start - 1) : start]) or _is_letter(text[end : end + 1]))
        if whole:
            found.append((start, end))
        start = text.find(phrase, end if whole else start + 1)
    return found


def _is_letter(mark: str) -> bool:
    """Whether a character, or nothing, is part of a word."""
    return mark.isalnum() or mark == "_"


def present(text: str, phrases: Iterable[str]) -> list[str]:
    """The phrases, in their order, that a text may hold: those that `find_all` is worth asking."""
    folded = _folded(text)
    if folded is None:
        return list(phrases)
    known = ((phrase, _wanted(phrase)) for phrase in phrases)
    return [phrase for phrase, wanted in known if wanted is None or wanted in folded]


def find_all(text: str, phrase: str) -> list[Offsets]:
    """Every occurrence of a phrase as whole words, whatever its case or spacing; [] if blank."""
    if not phrase.strip():
        return []
    folded, wanted = _folded(text), _wanted(phrase)
    if folded is not None and wanted is not None:
        if wanted not in folded:
            return []
        if len(folded) == len(text):
            return _occurrences(folded, wanted)
    return [match.span() for match in _pattern(phrase).finditer(text)]


def with_determiner(text: str, start: int) -> int:
    """The start of a noun phrase moved before its article or number word, if one stands there."""
    before = text[:start].rstrip()
    if len(before) == start:
        return start
    tail = before[-_LONGEST:].lower()
    if not tail.endswith(_DETERMINERS):
        return start
    word = next((w for w in _DETERMINERS if _ends_with_word(before, w)), "")
    return len(before) - len(word) if word else start


def _ends_with_word(text: str, word: str) -> bool:
    """Whether a text ends with a lower-case word, in whatever case, and not in a longer one."""
    place = len(text) - len(word)
    if place < 0 or text[place:].lower() != word:
        return False
    return not _is_letter(text[max(0, place - 1) : place])


def locate(text: str, phrase: str, near: int) -> Offsets | None:
    """The exact occurrence of `phrase` that starts closest to `near`, or None.

    Offsets that were computed on another form of the text (not NFC, other spacing) are repaired
    this way.
    """
    if not phrase:
        return None
    starts = []
    start = text.find(phrase)
    while start >= 0:
        starts.append(start)
        start = text.find(phrase, start + 1)
    if not starts:
        return None
    best = min(starts, key=lambda s: (abs(s - near), s))
    return best, best + len(phrase)


def without_overlaps(spans: Iterable[Span], taken: Iterable[Span] = ()) -> tuple[Span, ...]:
    """Spans sorted by start, none overlapping another; the earlier in the input wins.

    `taken` spans are respected and are part of the result. Empty spans and spans without objects
    are dropped.
    """
    kept: list[Span] = []
    starts: list[int] = []
    for span in (*taken, *spans):
        place = bisect.bisect_left(starts, span.end)
        clear = place == 0 or kept[place - 1].end <= span.start
        if clear and 0 <= span.start < span.end and span.object_ids:
            kept.insert(place, span)
            starts.insert(place, span.start)
    return tuple(kept)


def longest_first(spans: Iterable[Span]) -> list[Span]:
    """Spans by falling length, then by position: the priority in which phrases are placed."""
    return sorted(spans, key=lambda span: (span.start - span.end, span.start))


def joined(pieces: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[str, tuple[Span, ...]]:
    """Text pieces with object ids as one clean text and its spans.

    White space is collapsed, removed at both ends and before closing punctuation; a span covers
    exactly the words of its piece. Pieces without ids, or of blanks alone, make no span.
    """
    out = ""
    spans: list[Span] = []
    for piece, ids in pieces:
        body = re.sub(r"\s+", " ", piece)
        if not out or out.endswith(" "):
            body = body.lstrip()
        if body.lstrip()[:1] in _CLOSING:
            out, body = out.rstrip(), body.lstrip()
        start = len(out) + len(body) - len(body.lstrip())
        out += body
        end = len(out.rstrip())
        if ids and start < end:
            spans.append(Span(start, end, ids))
    text = out.rstrip()
    normal = nfc(text)
    if normal != text:
        spans = [moved for span in spans if (moved := _moved(text, normal, span)) is not None]
    return normal, tuple(spans)


def _moved(text: str, normal: str, span: Span) -> Span | None:
    """The span after normalisation, or None where composition crossed its border."""
    start, end = len(nfc(text[: span.start])), len(nfc(text[: span.end]))
    same = normal[start:end] == nfc(text[span.start : span.end])
    return Span(start, end, span.object_ids) if same and start < end else None
