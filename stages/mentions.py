"""Phrases of captions as questions about the image: where each stands, what it asks for, and the
objects that can answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grand_pipeline import geometry, spans
from grand_pipeline.columns import GROUNDED_CAPTIONS, INSTANCES, LINKS
from grand_pipeline.labels import Lexicon, how_many
from grand_pipeline.stage import Row
from grand_pipeline.types import (
    BoolArray,
    Box,
    Caption,
    FloatArray,
    Instance,
    Phrase,
    PhraseLink,
)


@dataclass(frozen=True)
class Candidate:
    """A box of a phrase, inside the image; `given` is the grounder's score, null if it has none,
    and `score` the one to rank it by: a box without a score is a plain yes."""

    source: str
    box: Box
    score: float
    given: float | None


@dataclass(frozen=True)
class Query:
    """A phrase text of the image; it can speak of `wanted` objects (None: any number)."""

    head: str
    wanted: int | None
    candidates: tuple[Candidate, ...]


def fold(text: str) -> str:
    """A phrase text for look-up: NFC, lower case, single blanks."""
    return " ".join(spans.nfc(text).lower().split())


def located(texts: Mapping[str, str], phrases: Sequence[Phrase]) -> list[Phrase]:
    """Phrases with offsets that hold for the stored caption texts, in reading order."""
    found: dict[tuple[str, int, int], Phrase] = {}
    for phrase in phrases:
        words = spans.nfc(phrase.text)
        place = spans.locate(texts.get(phrase.caption, ""), words, phrase.start)
        if place is not None:
            start, end = place
            moved = replace(phrase, text=words, start=start, end=end)
            found.setdefault((phrase.caption, start, end), moved)
    return [found[place] for place in sorted(found)]


def by_confidence(queries: Mapping[str, Query]) -> list[str]:
    """Phrase keys, those with the surest box first, so that they claim new objects first."""

    def rank(key: str) -> tuple[float, str]:
        candidates = queries[key].candidates
        return -candidates[0].score if candidates else 0.0, key

    return sorted(queries, key=rank)


def share(
    index: int, mentions: Sequence[Phrase], found: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """The objects of one mention: "a dog and a dog" takes the first, then the second."""
    mention = mentions[index]
    key = fold(mention.text)
    ids, number = found[key], how_many(mention.text, mention.head)
    if number is None:
        return ids
    before = sum(m.caption == mention.caption and fold(m.text) == key for m in mentions[:index])
    return ids[before * number : (before + 1) * number] or ids[:number]


class Pool:
    """The objects so far, which phrases confirm and add to, and the words each goes by.

    A voted object goes by its label, a floating one by its votes too; words are canonical labels.
    """

    def __init__(self, instances: Iterable[Instance], lexicon: Lexicon) -> None:
        self.instances: list[Instance] = []
        self.words: dict[str, set[int]] = {}
        self._lexicon = lexicon
        for instance in instances:
            self.add(instance)

    def add(self, instance: Instance) -> None:
        """One more object."""
        self.instances.append(instance)
        self._note(len(self.instances) - 1)

    def change(self, index: int, instance: Instance) -> None:
        """Another state of the object at `index`."""
        for places in self.words.values():
            places.discard(index)
        self.instances[index] = instance
        self._note(index)

    def agreeing(self, head: str) -> BoolArray:
        """Which objects (n,) a head noun agrees with."""
        fits = np.zeros(len(self.instances), bool)
        key = self._lexicon.key(head)
        for word, places in self.words.items():
            if self._lexicon.alike(key, word):
                fits[list(places)] = True
        return fits

    def boxes(self) -> FloatArray:
        """The boxes (n, 4)."""
        return geometry.as_boxes([instance.box for instance in self.instances])

    def _note(self, index: int) -> None:
        instance = self.instances[index]
        self.words.setdefault(self._lexicon.key(instance.label), set()).add(index)
        if instance.status == "floating":
            for vote in instance.votes:
                self.words.setdefault(self._lexicon.key(vote.label), set()).add(index)


@dataclass(frozen=True)
class Linked:
    """Everything that linking writes for one image."""

    instances: tuple[Instance, ...]
    links: tuple[PhraseLink, ...]
    captions: tuple[Caption, ...]

    def row(self) -> Row:
        """The columns that a linking stage writes."""
        return {
            INSTANCES: self.instances,
            LINKS: self.links,
            GROUNDED_CAPTIONS: self.captions,
        }
