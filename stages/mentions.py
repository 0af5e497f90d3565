"""Phrases of captions as questions about the image: where each stands, what it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from grand_pipeline import spans
from grand_pipeline.labels import how_many
from grand_pipeline.types import Box, Phrase


@dataclass(frozen=True)
class Candidate:
    """A box of a phrase, inside the image."""

    source: str
    box: Box
    score: float


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
