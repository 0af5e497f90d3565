"""Words as labels: one spelling per class, so that models with different vocabularies can agree.

Raw labels are kept wherever they are stored; what is here only compares them. English rules.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

from grand_pipeline.english import (
    COLLECTIVES,
    COMPOUNDS,
    GENERIC,
    HYPERNYMS,
    INVARIANT,
    IRREGULAR,
    MANY,
    NUMBERS,
    PARTICIPLES,
    PEOPLE,
    STOPS,
    SYNONYMS,
)
from grand_pipeline.inert import JOINERS, visible

PERSON = "person"
_ARTICLES = ("a", "an", "the")
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_QUALIFIER = re.compile(r"\([^)]*\)")
K = TypeVar("K")
V = TypeVar("V")
_WORDS = 16
_REMEMBERED = 1 << 16
"""Labels whose look-up is remembered: open vocabularies must not fill the memory."""
_EDGES = f".,;:!?\"'{JOINERS}"


@lru_cache(maxsize=65536)
def normalize(label: str) -> str:
    """The label in one spelling: NFC, lower case, no underscores, no qualifier in parentheses,
    no article, the last word in the singular. `"Cars_(automobile)"` gives `"car"`.

    A label that consists of a qualifier or an article alone is kept, so that a name never becomes
    empty unless nothing of it can be seen.
    """
    text = unicodedata.normalize("NFC", visible(label).lower()).replace("_", " ")
    bare = _QUALIFIER.sub(" ", text)
    words = (bare if bare.strip() else text.strip("() ")).split()
    words = [w for w in (word.strip(_EDGES) for word in words) if w]
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return " ".join([*words[:-1], singular(words[-1])]) if words else ""


def singular(word: str) -> str:
    """The singular of a lower-case English noun; words that are not plural come back unchanged."""
    if word in INVARIANT or word in IRREGULAR:
        return IRREGULAR.get(word, word)
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]


@lru_cache(maxsize=65536)
def plural(word: str) -> str:
    """The plural of a singular English noun (the last word of a longer label)."""
    first, last = word.rpartition(" ")[::2]
    lead = f"{first} " if first else ""
    for many, one in IRREGULAR.items():
        if one == last:
            return lead + many
    if last in INVARIANT:
        return word
    if last.endswith(("ch", "sh", "ss", "x", "zz", "s")):
        return f"{lead}{last}es"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return f"{lead}{last[:-1]}ies"
    return f"{lead}{last}s"


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, punctuation dropped."""
    return [word.lower() for word in _WORD.findall(text)]


def heads(phrase: str) -> tuple[str, ...]:
    """Core of each noun phrase joined by "and" or commas, without what follows a preposition.

    `"a group of two dogs and a red car on the road"` gives `("two dogs", "a red car")`.
    """
    parts = re.split(r",|\band\b|&", phrase.lower())
    found = (_core(words_of(part)) for part in parts)
    return tuple(core for core in found if core)


def _core(words: list[str]) -> str:
    while "of" in words[1:3] and singular(words[words.index("of") - 1]) in COLLECTIVES:
        words = words[words.index("of") + 1 :]
    end = next((i for i in range(1, len(words)) if _ends(words, i)), len(words))
    return " ".join(words[:end])


def _ends(words: list[str], index: int) -> bool:
    """Whether the core of a noun phrase ends before the word at `index`."""
    if words[index] not in PARTICIPLES:
        return words[index] in STOPS
    named = any(word not in _ARTICLES for word in words[:index])
    after = words[index + 1] if index + 1 < len(words) else "a"
    return named and (after in STOPS or after in _ARTICLES)


@lru_cache(maxsize=65536)
def how_many(phrase: str, head: str = "") -> int | None:
    """How many objects a phrase can speak of: 1, a stated number, or None for an open plural."""
    words = words_of(phrase)
    for word in words:
        if word in NUMBERS:
            return NUMBERS[word]
        if len(word) < 9 and word.isdecimal() and 0 < int(word) < 100:
            return int(word)
    cores = (head,) if head else heads(phrase)
    if len(cores) > 1 or not MANY.isdisjoint(words):
        return None
    last = words_of(cores[0])[-1:] if cores else []
    return None if last and singular(last[0]) != last[0] else 1


@dataclass(frozen=True)
class Lexicon:
    """Which labels mean the same. The pairs extend the built-in English tables."""

    synonyms: tuple[tuple[str, str], ...] = ()
    """(word, label) pairs: the word means the label."""

    hypernyms: tuple[tuple[str, str], ...] = ()
    """(label, kind) pairs: the label is a kind of the other, such as ("dog", "animal")."""

    def key(self, label: str) -> str:
        """The canonical label for comparison; words for people become "person"."""
        found = self._keys.get(label)
        if found is None:
            name = normalize(label)
            name = self._synonyms.get(name, name)
            found = PERSON if name in PEOPLE else name
            _remember(self._keys, label, found)
        return found

    def agree(self, a: str, b: str) -> bool:
        """Whether two labels can name one object: the same, or one is a kind of the other."""
        return self.alike(self.key(a), self.key(b))

    def alike(self, one: str, two: str) -> bool:
        """Whether two canonical labels can name one object."""
        if not one or not two:
            return False
        return one == two or two in self.kinds(one) or one in self.kinds(two)

    def is_a(self, label: str, kind: str) -> bool:
        """Whether `label` names a kind of `kind`, by the tables or because `kind` is its head."""
        return self.key(kind) in self.kinds(self.key(label))

    def mentions(self, phrase: str, label: str) -> bool:
        """Whether the head of a phrase (or of one of its conjuncts) agrees with a label.

        Generic heads ("it", "thing", "object") agree with everything.
        """
        for core in heads(phrase):
            words = core.split()
            tails = dict.fromkeys((" ".join(words), *_tails(words)))
            if words[-1] in GENERIC or any(self.agree(tail, label) for tail in tails):
                return True
        return False

    @cached_property
    def _synonyms(self) -> dict[str, str]:
        extra = {normalize(word): normalize(label) for word, label in self.synonyms}
        return SYNONYMS | extra

    @cached_property
    def _hypernyms(self) -> dict[str, tuple[str, ...]]:
        table: dict[str, tuple[str, ...]] = {}
        for label, kind in (*HYPERNYMS, *self.hypernyms):
            table[self.key(label)] = (*table.get(self.key(label), ()), self.key(kind))
        return table

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {}

    @cached_property
    def _known(self) -> dict[str, frozenset[str]]:
        return {}

    def kinds(self, key: str) -> frozenset[str]:
        """Everything that a canonical label is a kind of, by table and by head word, itself left
        out."""
        if key not in self._known:
            found: set[str] = set()
            open_ends = [key]
            while open_ends:
                for kind in self._parents(open_ends.pop()):
                    if kind not in found:
                        found.add(kind)
                        open_ends.append(kind)
            _remember(self._known, key, frozenset(found - {key}))
        return self._known[key]

    def _parents(self, key: str) -> Iterator[str]:
        yield from self._hypernyms.get(key, ())
        words = key.split()
        if len(words) > 1 and key not in COMPOUNDS:
            yield from (self.key(tail) for tail in _tails(words[1:]))


def _remember(table: dict[K, V], key: K, value: V) -> None:
    """Note an answer; a table that has grown large begins anew."""
    if len(table) >= _REMEMBERED:
        table.clear()
    table[key] = value


def _tails(words: Sequence[str]) -> list[str]:
    """Word sequences that end where `words` end, longest first: of very many words only those that
    a name could have, for their number would be squared and more."""
    most = words[-_WORDS:]
    return [" ".join(most[i:]) for i in range(len(most))]
