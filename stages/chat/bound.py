"""Tokens of a chat guessed from above, where nothing can count them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prompts import Message

TURN = 8
"""Tokens that a chat template is taken to add to every turn, where nobody can count them."""

_PARTS = re.compile(r"([A-Za-z]+)|([^\sA-Za-z])|\n")


def estimate(messages: Sequence[Message]) -> int:
    """A chat's tokens guessed from above, without any vocabulary.

    Words of Latin letters count a token per three letters, every other visible character of
    ASCII and every line break one, other characters one per byte of UTF-8, every turn `TURN`.
    That is more than vocabularies of the usual kind (some ten thousand word pieces) need for
    English and for scene graphs; for rare words of other languages it may be too little.
    """
    return sum(TURN + _tokens(message["content"]) for message in messages)


def _tokens(text: str) -> int:
    total = 0
    for letters, other in _PARTS.findall(text):
        total += -(-len(letters) // 3) if letters else len(other.encode()) or 1
    return total
