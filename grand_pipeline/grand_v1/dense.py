"""Level 3: grounding the dense caption in four steps of falling evidence."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from grand_pipeline import spans
from grand_pipeline.grand_v1 import boxes, words
from grand_pipeline.grand_v1.words import Lemmas, Word
from grand_pipeline.types import Box, Span

Parse = Callable[[str], Sequence[Word]]
"""Text -> its words with their dependencies."""

_DROPPED = str.maketrans("", "", string.punctuation.replace(",", "").replace(".", ""))


@dataclass(frozen=True)
class Thing:
    """An object as the rules see it: `labels` as voted, `attributes` in lower case, best first."""

    id: int
    voted: bool
    box: Box
    labels: tuple[str, ...]
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Grounding:
    """A phrase in lower case and the objects it speaks of."""

    phrase: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """What one image offers to ground a text, and the tools to read it.

    `said` are the phrases of the short captions with their objects, in lower case.
    """

    things: Sequence[Thing]
    said: Mapping[str, tuple[int, ...]]
    parse: Parse
    lemmas: Lemmas
    least: float
    defects: Collection[str] = ()


def ground(text: str, evidence: Evidence) -> tuple[str, tuple[Span, ...]]:
    """The text without punctuation but commas and full stops, and its grounded spans.

    A span stands at the first occurrence of its phrase; spans may overlap. D4: offsets are those
    in the text before its punctuation went. D5: letters beyond ASCII are torn into two characters,
    and a backslash before an x raises UnicodeDecodeError.
    """
    defects = evidence.defects
    kept = text.encode("utf-8").decode("unicode_escape") if "D5" in defects else text
    stored = kept.translate(_DROPPED).strip()
    basis = text if "D4" in defects else stored
    found: list[Span] = []
    for grounding in cleaned(groundings(basis, evidence), defects):
        place = _first(basis, grounding.phrase, defects)
        if place is not None:
            start, end = place[0], min(place[1], len(stored))
            found += [Span(start, end, grounding.ids)] if start < end else []
    return stored, tuple(sorted(found, key=lambda span: (span.start, -span.end)))


def groundings(text: str, evidence: Evidence) -> list[list[Grounding]]:
    """What each of the four steps grounds."""
    by_attribute = _attributes(text, evidence)
    used = {one.phrase for one in by_attribute}
    by_phrase = [
        Grounding(phrase, ids)
        for phrase, ids in evidence.said.items()
        if phrase not in used and ids and _first(text, phrase, evidence.defects)
    ]
    used |= {one.phrase for one in by_phrase}
    mine = [
        (found.noun, text[found.start : found.end])
        for found in words.phrases(evidence.parse(text), text)
    ]
    by_likeness = _likeness([phrase.lower() for _, phrase in mine], used, evidence)
    used |= {one.phrase for one in by_likeness}
    left = [
        phrase for _, phrase in mine
        if (phrase if "D7" in evidence.defects else phrase.lower()) not in used
    ]  # fmt: skip
    return [by_attribute, by_phrase, by_likeness, _nouns(left, evidence)]


def cleaned(steps: Sequence[Sequence[Grounding]], defects: Collection[str] = ()) -> list[Grounding]:
    """One grounding per phrase, that of the earliest step, without phrases inside a longer one
    that speaks of the same objects; long ones first.

    Objects that one step gives to the same phrase are joined. D6: the first alone stays.
    """
    kept: dict[str, tuple[int, ...]] = {}
    for step in steps:
        own: dict[str, tuple[int, ...]] = {}
        for one in step:
            known = own.get(one.phrase, ())
            if not known or "D6" not in defects:
                own[one.phrase] = tuple(dict.fromkeys((*known, *one.ids)))
        kept = {**own, **kept}
    result: list[Grounding] = []
    for phrase in sorted(kept, key=lambda text: (-len(text), text)):
        if not any(phrase in other.phrase and kept[phrase] == other.ids for other in result):
            result.append(Grounding(phrase, kept[phrase]))
    return result


def _attributes(text: str, evidence: Evidence) -> list[Grounding]:
    """Step 1: the first attribute of each object that stands in the text."""
    ordered = sorted(evidence.things, key=lambda thing: not thing.voted)
    found = (
        (thing, next((a for a in thing.attributes if _first(text, a, evidence.defects)), None))
        for thing in ordered
    )
    return [Grounding(attribute, (thing.id,)) for thing, attribute in found if attribute]


def _likeness(mine: Sequence[str], used: Collection[str], evidence: Evidence) -> list[Grounding]:
    """Step 3: phrases of the text that are like an attribute or a phrase of a short caption.

    D7: an object's attribute is forgotten when a phrase speaks of it first.
    """
    told = [(thing.id, thing.attributes[0]) for thing in evidence.things if thing.attributes]
    told += [(ids[0], phrase) for phrase, ids in evidence.said.items() if ids]
    if "D7" in evidence.defects:
        told = list(dict(told).items())
    found: list[Grounding] = []
    for phrase in dict.fromkeys(mine):
        scores = [
            words.similarity(phrase, known, evidence.lemmas, evidence.defects) for _, known in told
        ]
        best = max(range(len(told)), key=scores.__getitem__, default=None)
        if phrase not in used and best is not None and scores[best] >= evidence.least:
            found.append(Grounding(phrase, (told[best][0],)))
    return found


def _nouns(left: Sequence[str], evidence: Evidence) -> list[Grounding]:
    """Step 4: nouns that are the label of one object, or of two of which one holds the other."""
    found: list[Grounding] = []
    for phrase in left:
        for inner in words.plain_phrases(evidence.parse(phrase), phrase):
            named = [t for t in evidence.things if t.voted and _names(inner.noun, t.labels)]
            if len(named) == 2:
                named = [a for a, b in (named, named[::-1]) if boxes.holds(a.box, b.box)][:1]
            if len(named) == 1:
                text = phrase[inner.start : inner.end].lower().strip()
                found.append(Grounding(text, (named[0].id,)))
    return found


def _names(noun: str, labels: Sequence[str]) -> bool:
    """Whether a noun is one of the labels, but for a final s."""
    return any(noun in (label, f"{label}s") or label == f"{noun}s" for label in labels)


def _first(text: str, phrase: str, defects: Collection[str]) -> tuple[int, int] | None:
    """Where a phrase first stands in a text, whatever its case.

    As whole words; D7: as any string of letters, an empty one too.
    """
    if "D7" in defects:
        match = re.search(re.escape(phrase.strip().lower()), text.lower())
        return match.span() if match else None
    return next(iter(spans.find_all(text, phrase)), None)
