"""Relations between things that a text states, and what boxes and depths say about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from grand_pipeline.lexicon import Mention
from grand_pipeline.relations import CLOSE
from grand_pipeline.types import Box, Size

Triple = tuple[int, str, int]
"""Subject id, predicate, object id."""

_SAME = {
    "atop": "on",
    "on top of": "on",
    "inside": "in",
    "over": "above",
    "to the left of": "left of",
}
_BACKWARDS = {
    "right of": "left of",
    "to the right of": "left of",
    "behind": "in front of",
    "below": "above",
    "under": "above",
    "beneath": "above",
}

BESIDE = ("next to", "beside")
"""Predicates of neighbours, whichever comes first."""

_PREDICATES = (
    *("to the left of", "to the right of", "on top of", "in front of", "left of", "right of"),
    *("behind", "above", "below", "beneath", "under", "over", "atop", "inside", "in", "on"),
    *BESIDE,
)
_FILLERS = (
    *("that", "which", "who", "is", "are", "just", "directly", "right", "there", "flies", "lying"),
    *("sitting", "parked", "placed", "seen", "(?:stand|sit|fly|swim|float|lie|grow|hang|wait)"),
    *("(?:stand|sit|float|grow|hang|wait|rest|lie)s", "(?:stand|fly|float|grow|hang|wait|rest)ing"),
    *("swims", "swimming"),
)
_BETWEEN = re.compile(
    rf"^[\s,]*(?:(?:{'|'.join(_FILLERS)})\s+)*({'|'.join(_PREDICATES)})\s*$", re.IGNORECASE
)

Place = tuple[Box, float | None]
"""A box in pixels, and the depth in it where it is known (larger = nearer)."""


def normal(subject: int, predicate: str, target: int) -> Triple:
    """One spelling for one fact: "right of" and "behind" are read backwards."""
    plain = predicate.strip().lower()
    if plain in _BACKWARDS:
        return target, _BACKWARDS[plain], subject
    return subject, _SAME.get(plain, plain), target


def related(text: str, mentions: Sequence[Mention]) -> Iterator[tuple[Mention, str, Mention]]:
    """The relations that a text states: subject, predicate in lower case, object.

    Two mentions that stand beside each other in one sentence are related when only a known
    predicate and small words stand between them.
    """
    thing: Mention | None = None
    chained = False
    for before, second in pairwise(mentions):
        between = text[before.end : second.start]
        # "A dog on the grass in front of a car": the dog is in front, not the grass. "A dog left of
        # a cat, in front of a car": the dog again, which the comma goes back to.
        back = chained and between.lstrip().startswith(",")
        thing = before if before.kind != "stuff" and not back else thing
        words = _BETWEEN.match(between)
        chained = words is not None
        if words is not None and thing is not None and "." not in text[thing.end : second.start]:
            yield thing, words.group(1).lower(), second


def near(first: Box, second: Box, size: Size) -> bool:
    """Whether the gaps between two boxes are small for an image of `size` (height, width)."""
    gap_x = max(first[0], second[0]) - min(first[2], second[2])
    gap_y = max(first[1], second[1]) - min(first[3], second[3])
    return gap_x <= CLOSE * size[1] and gap_y <= CLOSE * size[0]


def in_order(predicate: str, subject: Place, target: Place) -> bool | None:
    """Whether centres or depths say "left of", "above", "in front of" or their inverses.

    None for predicates that mean no order, and for depths that are not known.
    """
    turned, plain, _ = normal(0, predicate, 1)
    (a, near_a), (b, near_b) = (target, subject) if turned else (subject, target)
    if plain == "left of":
        return a[0] + a[2] < b[0] + b[2]
    if plain == "above":
        return a[1] + a[3] < b[1] + b[3]
    if plain == "in front of" and near_a is not None and near_b is not None:
        return near_a > near_b
    return None
