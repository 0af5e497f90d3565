"""Inline object references in generated text: `<p>a red car</p>[0]`, `<p>two dogs</p>[1][4]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_IDS = r"\[\s*\d+(?:\s*,\s*\d+)*\s*\]"
_REFERENCE = re.compile(rf"<p>(?P<phrase>[^<>]*)</p>(?P<ids>(?:\s*{_IDS})*)", re.IGNORECASE)
# Blanks are looked through from their first one only: many of them must not take for ever.
_LEFTOVER = re.compile(
    rf"</?\s*p\s*(?:>|(?!\w))|(?:(?<!\s)\s+)?{_IDS}|<\|[^<>|]*\|>|</?s>|\[SEG\]",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_LONGEST_ID = 9
_ROUNDS = 8
_BRACKETS = re.compile(r"[<>\[\]]")


@dataclass(frozen=True)
class Piece:
    """A run of the answer: plain text (`ids` is None) or a marked phrase with its ids in order.

    A marked phrase without ids has an empty tuple.
    """

    text: str
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Answer:
    """A parsed answer; `clean` says that no marks were left that could not be read."""

    pieces: tuple[Piece, ...]
    clean: bool

    @property
    def marked(self) -> tuple[Piece, ...]:
        """The pieces that are marked phrases."""
        return tuple(piece for piece in self.pieces if piece.ids is not None)


def parse(answer: str) -> Answer:
    """Split an answer into plain text and marked phrases; unreadable marks are removed.

    Of nested marks the innermost counts. Never fails: a text without marks is one plain piece.
    """
    pieces: list[Piece] = []
    clean = True
    position = 0
    for match in _REFERENCE.finditer(answer):
        plain, tidy = _stripped(answer[position : match.start()])
        phrase, tidy_phrase = _stripped(match["phrase"])
        digits = _DIGITS.findall(match["ids"])
        # Longer numbers are the ids of nothing, and none that the columns could hold.
        ids = tuple(dict.fromkeys(int(some) for some in digits if len(some) <= _LONGEST_ID))
        pieces += [Piece(plain), Piece(phrase, ids)]
        clean = clean and tidy and tidy_phrase and all(len(some) <= _LONGEST_ID for some in digits)
        position = match.end()
    plain, tidy = _stripped(answer[position:])
    pieces.append(Piece(plain))
    return Answer(tuple(piece for piece in pieces if piece.text), clean and tidy)


def _stripped(text: str) -> tuple[str, bool]:
    """The text without left-over marks, and whether there were none."""
    plain, before = _LEFTOVER.sub("", text), text
    # Removing a mark can join the halves of another one; what is nested deeper is malice.
    for _ in range(_ROUNDS):
        if plain == before:
            return plain, plain == text
        plain, before = _LEFTOVER.sub("", plain), plain
    return _BRACKETS.sub("", plain), False
