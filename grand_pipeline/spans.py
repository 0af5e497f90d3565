"""Spans over text: offsets that always cut out what they promise.

A span is `(start, end)`, half-open character offsets. Text is Unicode NFC.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from grand_pipeline.types import Span

Offsets = tuple[int, int]
_CLOSING = frozenset(".,;:!?")
_DETERMINER = re.compile(
    r"(?<!\w)(?:an?|the|this|that|these|those|one|two|three|four|five|six)\s+\Z", re.IGNORECASE
)


def nfc(text: str) -> str:
    """The text in Unicode normal form C."""
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=4096)
def _pattern(phrase: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def find_all(text: str, phrase: str) -> list[Offsets]:
    """Every occurrence of a phrase as whole words, whatever its case or spacing; [] if blank."""
    if not phrase.strip():
        return []
    return [match.span() for match in _pattern(phrase).finditer(text)]


def with_determiner(text: str, start: int) -> int:
    """The start of a noun phrase moved before its article or number word, if one stands there."""
    before = _DETERMINER.search(text, 0, start)
    return before.start() if before else start


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
    for span in (*taken, *spans):
        clear = all(span.end <= other.start or other.end <= span.start for other in kept)
        if clear and 0 <= span.start < span.end and span.object_ids:
            kept.append(span)
    return tuple(sorted(kept, key=lambda span: span.start))


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
