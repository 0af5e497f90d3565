"""Phrases of captions as questions about the image: where each stands, what it asks for, and the
objects that can answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
    rows: slice
    """Where the candidates stand among those of all queries."""


@lru_cache(maxsize=4096)
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
            moved = Phrase(phrase.caption, words, phrase.head, start, end)
            found.setdefault((phrase.caption, start, end), moved)
    return [found[place] for place in sorted(found)]


def by_confidence(queries: Mapping[str, Query]) -> list[str]:
    """Phrase keys, those with the surest box first, so that they claim new objects first."""

    def rank(key: str) -> tuple[float, str]:
        candidates = queries[key].candidates
        return -candidates[0].score if candidates else 0.0, key

    return sorted(queries, key=rank)


def shared(
    mentions: Sequence[Phrase], found: Mapping[str, tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """The objects of each mention: "a dog and a dog" takes the first, then the second."""
    before: Counter[tuple[str, str]] = Counter()
    shares: list[tuple[int, ...]] = []
    for mention in mentions:
        key = fold(mention.text)
        ids, number = found[key], how_many(mention.text, mention.head)
        if number is None:
            shares.append(ids)
        else:
            first = before[mention.caption, key] * number
            shares.append(ids[first : first + number] or ids[:number])
        before[mention.caption, key] += 1
    return shares


class Pool:
    """The objects so far, which phrases confirm and add to, and the words each goes by.

    A voted object goes by its label, a floating one by its votes too; words are canonical labels.
    """

    def __init__(
        self, instances: Iterable[Instance], lexicon: Lexicon, places: Sequence[Box]
    ) -> None:
        self.instances: list[Instance] = []
        self._words: defaultdict[str, list[int]] = defaultdict(list)
        self._narrower: defaultdict[str, set[str]] = defaultdict(set)
        self._lexicon = lexicon
        self._places = geometry.as_boxes(places)
        self.overlap: FloatArray = np.zeros((len(places), 0), np.float32)
        """IoU of the boxes of phrases, `places` (m, 4), with the objects' (n, 4)."""
        self.add(instances)

    def add(self, instances: Iterable[Instance]) -> None:
        """More objects."""
        first = len(self.instances)
        self.instances.extend(instances)
        boxes = geometry.as_boxes([instance.box for instance in self.instances[first:]])
        more = geometry.iou(self._places, boxes)
        self.overlap = np.concatenate([self.overlap, more], axis=1)
        self._note(range(first, len(self.instances)))

    def change(self, index: int, instance: Instance) -> None:
        """Another state of the object at `index`, on the same box."""
        old = self.instances[index]
        self.instances[index] = instance
        voted = old.status == "object" == instance.status
        if instance is old or (voted and old.label == instance.label):
            return  # A voted object goes by its label alone.
        labels = (old.label, *(vote.label for vote in old.votes))
        for word in set(map(self._lexicon.key, labels)):
            self._words[word] = [number for number in self._words[word] if number != index]
        self._note([index])

    def agreeing(self, head: str) -> BoolArray:
        """Which objects (n,) a head noun agrees with, as `Lexicon.alike` has it."""
        fits = np.zeros(len(self.instances), bool)
        key = self._lexicon.key(head)
        if key:
            alike = {key} | self._lexicon.kinds(key) | self._narrower.get(key, set())
            fits[[index for word in alike if word for index in self._words.get(word, ())]] = True
        return fits

    def _note(self, indices: Iterable[int]) -> None:
        key, words, known = self._lexicon.key, self._words, set(self._words)
        for index in indices:
            instance = self.instances[index]
            words[key(instance.label)].append(index)
            if instance.status == "floating":
                for vote in instance.votes:
                    words[key(vote.label)].append(index)
        for word in words.keys() - known:
            for kind in self._lexicon.kinds(word):
                self._narrower[kind].add(word)


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
