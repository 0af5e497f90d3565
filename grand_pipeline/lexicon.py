"""Which words name which classes, and a small parser that finds such names in a text.

The parser is deliberately simple, so that its errors can be understood: it looks for the names,
plurals and synonyms of the lexicon, takes a colour and a number word out of the modifiers right
before a name, and a colour out of "is red" right after it. It knows no grammar beyond that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

NUMBERS: dict[str, int] = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_DETERMINERS = (
    *("a", "an", "the", "one", "this", "that", "these", "those", "another", "some", "several"),
    *("many", "its", "both", "each", "every", "other", "single"),
)
_ADJECTIVES = (
    *("small", "big", "large", "little", "tiny", "huge", "tall", "short", "bright", "dark"),
    *("light", "pale", "old", "new", "nice", "lovely", "wooden", "lone", "same", "second"),
    *("nearby", "distant", "green-leaved", "colorful", "colourful"),
)
_WORD = re.compile(r"[\w'-]+")
_SPELLINGS = {"grey": "gray"}
_JOINT = re.compile(r"\s+(?:of|on|in|with|at|by|near|under|behind|above|next|to|that|which)\b")

MentionKind = Literal["thing", "stuff", "hypernym"]


@dataclass(frozen=True)
class Mention:
    """A class named in a text: `[start, end)` covers its modifiers too.

    `number` is the count said by a number word; `plural` says that the noun stands in the plural.
    """

    start: int
    end: int
    name: str
    kind: MentionKind
    color: str | None
    number: int | None
    plural: bool


@dataclass(frozen=True)
class Lexicon:
    """Class names and the words for them.

    `things` and `stuff` map a class to all its other words; `plurals` maps a class or hypernym to
    its plural; `hypernyms` maps a thing to its hypernym; `held_out` lists (class, colour) pairs
    that training never sees.
    """

    things: Mapping[str, tuple[str, ...]]
    stuff: Mapping[str, tuple[str, ...]]
    plurals: Mapping[str, str]
    hypernyms: Mapping[str, str]
    colors: tuple[str, ...]
    held_out: frozenset[tuple[str, str]]

    @cached_property
    def words(self) -> dict[str, tuple[str, MentionKind, bool]]:
        """Lower-case word -> (class or hypernym, its kind, whether the word is a plural)."""
        found: dict[str, tuple[str, MentionKind, bool]] = {}
        general = {name: () for name in self.hypernyms.values()}
        tables: tuple[tuple[Mapping[str, tuple[str, ...]], MentionKind], ...] = (
            (general, "hypernym"),
            (self.stuff, "stuff"),
            (self.things, "thing"),
        )
        for table, kind in tables:
            for name, others in table.items():
                for word in (name, *others):
                    plural = self.plurals.get(word, plural_of(word))
                    if plural != word:
                        found[plural] = (name, kind, True)
                    found[word] = (name, kind, False)
        return found

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.words, key=len, reverse=True)
        names = "|".join(re.escape(word) for word in longest_first)
        return re.compile(rf"(?<![\w-])(?:{names})(?![\w-])", re.IGNORECASE)

    def canonical(self, label: str) -> str:
        """The class that a label names, else the label itself.

        Synonyms and plurals are resolved, and a phrase is taken by its head: "a red puppy" is a
        dog.
        """
        plain = label.strip().lower()
        known = self.words.get(plain)
        if known:
            return known[0]
        head = self.head(plain)
        return head.name if head else plain

    def color_in(self, text: str) -> str | None:
        """The first colour word of a text."""
        return next(iter(self.colors_in(text)), None)

    def colors_in(self, text: str) -> list[str]:
        """The colour words of a text, in reading order."""
        words = (_SPELLINGS.get(word, word) for word in _WORD.findall(text.lower()))
        return [word for word in words if word in self.colors]

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """All class names in a text, in reading order, with their modifiers."""
        found = []
        for match in self._pattern.finditer(text):
            name, kind, plural = self.words[match.group().lower()]
            start, color, number = self._modifiers(text, match.start())
            color = color or self._said_of(text, match.end())
            found.append(Mention(start, match.end(), name, kind, color, number, plural))
        return tuple(found)

    def head(self, phrase: str) -> Mention | None:
        """The mention that a noun phrase is about: the last one before its first preposition."""
        joint = _JOINT.search(phrase)
        inside = self.mentions(phrase[: joint.start()] if joint else phrase)
        return inside[-1] if inside else None

    def plain(self, phrase: str) -> str:
        """A noun phrase by its class name and other words: "two red puppies" -> "red dog"."""
        words = phrase.lower()
        words = self._pattern.sub(lambda match: self.words[match.group()][0], words)
        dropped = (*_DETERMINERS, *NUMBERS)
        return " ".join(word for word in _WORD.findall(words) if word not in dropped)

    def _modifiers(self, text: str, start: int) -> tuple[int, str | None, int | None]:
        """Start of the phrase, colour and number of the modifiers that end at `start`."""
        color: str | None = None
        number: int | None = None
        while True:
            before = re.search(r"([\w'-]+)\s+$", text[:start])
            if before is None:
                return start, color, number
            word = before.group(1).lower()
            word = _SPELLINGS.get(word, word)
            if word in self.colors:
                color = color or word
            elif word in NUMBERS:
                number = NUMBERS[word]
            elif word not in _DETERMINERS and word not in _ADJECTIVES:
                return start, color, number
            start = before.start()

    def _said_of(self, text: str, end: int) -> str | None:
        """The colour in "... is red" right after a name; none in "... is red car"."""
        names = "|".join((*self.colors, *_SPELLINGS))
        rest = re.match(rf"\s+(?:is|are)\s+({names})\b(?!\s+[a-z])", text[end:], re.IGNORECASE)
        if rest is None:
            joined = rf"\s+(?:is|are)\s+({names})\s+(?:and|with|in|on)\b"
            rest = re.match(joined, text[end:], re.IGNORECASE)
        word = rest.group(1).lower() if rest else None
        return _SPELLINGS.get(word, word) if word else None


def plural_of(word: str) -> str:
    """The regular English plural of a noun."""
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"
