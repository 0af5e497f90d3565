"""Why an answer is not what was asked for, found by its text.

Servers and models say when an answer was cut short or filtered; that it is empty, a refusal,
a loop or in another language only its words tell. The rules want to be sure rather than complete:
what they name is wrong, what they let pass may still be.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from grand_pipeline.types import FinishReason
from stages.chat.interface import LENGTH, STOP, Answer

FILTERED, EMPTY, REFUSED, REPEATED, LANGUAGE, OVERLONG = (
    FinishReason(name)
    for name in ("filtered", "empty", "refused", "repeated", "wrong language", "overlong")
)
"""Finish reasons: the server withheld the answer; it has no words; it declines; it says the same
over and over; it is not in English; it is longer than the tokens asked for can be."""

RESAMPLED: frozenset[str] = frozenset({FILTERED, EMPTY, REFUSED, REPEATED, LANGUAGE})
"""Reasons for which the same question can get a better answer from another seed."""

LOOP_WORDS, LOOPS = 8, 4
"""A text repeats itself when this many words in a row stand in it this many times."""

FOREIGN_WORDS, FOREIGN_SHARE = 12, 0.15
"""A text of at least this many words is foreign when fewer than this share are the little words
of English. English descriptions have 0.30 and more; German, Dutch, French, Italian and Spanish
ones about 0.10 at most, because of words like "in" or "is" that they share."""

_REFUSALS = re.compile(
    r"^\W*(?:(?:i\s*(?:'|\u2019)?\s*a?m\s+(?:really\s+|very\s+|so\s+)?(?:sorry|unable|afraid))"
    r"|sorry\b|my\s+apologies|i\s+apologi[sz]e"
    r"|(?:unfortunately,?\s+)?i\s+(?:can\s?not|can(?:'|\u2019)t|won(?:'|\u2019)t|will\s+not"
    r"|must\s+decline|am\s+not\s+able)\b"
    r"|as\s+an?\s+(?:ai|artificial|(?:large\s+)?language)\b)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_MARKS = re.compile(r"</?p>|\[\s*\d+(?:\s*,\s*\d+)*\s*\]|\"(?:caption|mentions|phrase|objects)\":")
_LITTLE = frozenset(
    (
        *("a", "an", "the", "of", "in", "on", "at", "to", "and", "or", "is", "are", "was", "were"),
        *("be", "with", "for", "by", "from", "as", "it", "its", "this", "that", "these", "those"),
        *("there", "here", "which", "who", "not", "no", "can", "also", "their", "they", "them"),
        *("he", "she", "his", "her", "we", "see", "has", "have", "had", "but", "if", "than"),
        *("then", "so", "when", "where", "while", "near", "behind", "under", "above", "below"),
        *("between", "next", "left", "right", "front", "two", "three", "several", "many", "some"),
        *("other", "another", "one"),
    )
)


def judged(answer: Answer) -> Answer:
    """The answer with the finish reason that its text deserves.

    Reasons that the backend gave stay, except that a looping answer which was cut short at last
    is called repeated: a larger budget would only loop longer.
    """
    if answer.finish_reason not in (STOP, LENGTH):
        return answer
    found = reason(answer.text)
    if found is None or (answer.finish_reason == LENGTH and found != REPEATED):
        return answer
    return Answer(answer.text, found)


def reason(text: str) -> FinishReason | None:
    """What is wrong with a text, or None."""
    words = _WORD.findall(_MARKS.sub(" ", text))
    if not words:
        return EMPTY
    if _REFUSALS.match(text):
        return REFUSED
    if _loops(text.lower().split()):
        return REPEATED
    return LANGUAGE if _foreign(words) else None


def _loops(words: Sequence[str]) -> bool:
    """Whether some run of words stands in the text again and again, or one word without end."""
    runs = Counter(tuple(words[n : n + LOOP_WORDS]) for n in range(len(words) - LOOP_WORDS + 1))
    return any(count >= LOOPS for count in runs.values())


def _foreign(words: Sequence[str]) -> bool:
    latin = sum(all(ord(letter) < 0x250 for letter in word) for word in words)
    if latin < 0.7 * len(words):
        return True
    if len(words) < FOREIGN_WORDS:
        return False
    little = sum(word.lower() in _LITTLE for word in words)
    return little < FOREIGN_SHARE * len(words)
