"""Dense captions as JSON: a caption and the phrases in it that mention objects.

    {"caption": "A red car stands near two dogs.",
     "mentions": [{"phrase": "A red car", "objects": [0]},
                  {"phrase": "two dogs", "objects": [1, 4]}]}

It says the same as inline references (`references`), for servers that hold a model to a schema.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from grand_pipeline import inert, references, spans
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

_FENCE = "```"


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
        caption = _text(given["caption"])
        mentions = [(_text(m["phrase"]), _ids(m["objects"])) for m in given["mentions"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    phrases = dict.fromkeys(phrase for phrase, _ in mentions)
    found = {phrase: spans.find_all(caption, phrase.strip()) for phrase in phrases}
    placed: list[Span] = []
    after = 0
    for phrase, ids in mentions:
        start, end = _place(found[phrase], placed, after)
        if start < end:
            placed.insert(bisect_left(placed, start, key=_start), Span(start, end, ids))
            after = end
    whole = references.parse(caption)
    clean = len(placed) == len(mentions) and whole.clean and not whole.marked
    return Answer(_pieces(caption, placed), clean)


def _bare(answer: str) -> str:
    """The answer without the fence around it, of which the end may be missing."""
    text = answer.strip()
    if not text.startswith(_FENCE):
        return text
    head, _, body = text.partition("\n")
    if head[len(_FENCE) :].strip().lower() not in ("", "json"):
        return text
    return body.removesuffix(_FENCE).strip()


def _text(given: Any) -> str:
    if type(given) is not str:
        raise TypeError("captions and phrases are texts")
    return inert.encodable(given)


def _ids(given: Any) -> tuple[int, ...]:
    if any(type(number) is not int for number in given):
        raise TypeError("ids are integers")
    return tuple(dict.fromkeys(given))


def _place(found: Sequence[spans.Offsets], placed: Sequence[Span], after: int) -> spans.Offsets:
    """The first of the places of a phrase, behind `after` if there is one, that is not inside the
    phrases that are placed, which are in order; (0, 0) where there is none."""
    behind = bisect_left(found, (after,))
    return next((at for at in (*found[behind:], *found[:behind]) if _free(at, placed)), (0, 0))


def _free(at: spans.Offsets, placed: Sequence[Span]) -> bool:
    """Whether no phrase, of those that are placed in order, is there."""
    next_one = bisect_left(placed, at[1], key=_start)
    return next_one == 0 or placed[next_one - 1].end <= at[0]


def _start(span: Span) -> int:
    return span.start


def _pieces(caption: str, placed: Sequence[Span]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    position = 0
    for span in placed:
        pieces.append(Piece(_plain(caption[position : span.start])))
        pieces.append(Piece(_plain(caption[span.start : span.end]), span.object_ids))
        position = span.end
    pieces.append(Piece(_plain(caption[position:])))
    return tuple(piece for piece in pieces if piece.text)


def _plain(text: str) -> str:
    """The text without the marks of inline references, which have no place in such an answer."""
    return "".join(piece.text for piece in references.parse(text).pieces)
