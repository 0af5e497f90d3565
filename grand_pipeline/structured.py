"""Dense captions as JSON: a caption and the phrases in it that mention objects.

    {"caption": "A red car stands near two dogs.",
     "mentions": [{"phrase": "A red car", "objects": [0]},
                  {"phrase": "two dogs", "objects": [1, 4]}]}

It says the same as inline references (`references`), for servers that hold a model to a schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from grand_pipeline import references, spans
from grand_pipeline.references import Answer, Piece
from grand_pipeline.types import Span

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "caption": {"type": "string"},
            "mentions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "phrase": {"type": "string"},
                        "objects": {"type": "array", "items": {"type": "integer"}},
                    },
                    "required": ["phrase", "objects"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["caption", "mentions"],
        "additionalProperties": False,
    }
)
"""What such an answer has to be, as JSON schema."""

_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL | re.IGNORECASE)


def read(answer: str) -> Answer:
    """An answer of either kind, or plain text, as pieces. Never fails."""
    text = spans.nfc(answer)
    return parse(text) or references.parse(text)


def meant_as_json(answer: str) -> bool:
    """Whether an answer begins like a JSON object, fenced or not."""
    return _bare(answer).startswith("{")


def parse(answer: str) -> Answer | None:
    """Plain text and marked phrases of a JSON answer; None where it is no such answer.

    Phrases are looked for in the order of the mentions, each behind the one before it or, if it is
    not there, anywhere that is free. One that is nowhere is left out, and the answer is not clean.
    """
    try:
        given = json.loads(_bare(answer))
        caption = str(given["caption"])
        mentions = [(str(m["phrase"]), _ids(m["objects"])) for m in given["mentions"]]
    except (ValueError, KeyError, TypeError):
        return None
    placed: list[Span] = []
    for phrase, ids in mentions:
        start, end = _place(caption, phrase.strip(), placed)
        if start < end:
            placed.append(Span(start, end, ids))
    whole = references.parse(caption)
    clean = len(placed) == len(mentions) and whole.clean and not whole.marked
    return Answer(_pieces(caption, placed), clean)


def _bare(answer: str) -> str:
    fenced = _FENCE.match(answer)
    return (fenced.group(1) if fenced else answer).strip()


def _ids(given: Any) -> tuple[int, ...]:
    if any(type(number) is not int for number in given):
        raise TypeError("ids are integers")
    return tuple(dict.fromkeys(given))


def _place(caption: str, phrase: str, placed: Sequence[Span]) -> spans.Offsets:
    """Where a phrase stands; (0, 0) where it does not, or only inside other phrases."""
    after = placed[-1].end if placed else 0
    free = [
        (start, end)
        for start, end in spans.find_all(caption, phrase)
        if all(end <= other.start or other.end <= start for other in placed)
    ]
    return min(free, key=lambda at: (at[0] < after, at[0]), default=(0, 0))


def _pieces(caption: str, placed: Sequence[Span]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    position = 0
    for span in sorted(placed, key=lambda span: span.start):
        pieces.append(Piece(_plain(caption[position : span.start])))
        pieces.append(Piece(_plain(caption[span.start : span.end]), span.object_ids))
        position = span.end
    pieces.append(Piece(_plain(caption[position:])))
    return tuple(piece for piece in pieces if piece.text)


def _plain(text: str) -> str:
    """The text without the marks of inline references, which have no place in such an answer."""
    return "".join(piece.text for piece in references.parse(text).pieces)
