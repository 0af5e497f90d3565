"""Captions and phrases of a GranD annotation, tied to the objects that exist.

Offsets are believed only where they cut out their phrase; otherwise the phrase is looked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from grand_pipeline import spans
from grand_pipeline.importers import texts, values
from grand_pipeline.importers.notes import Notes
from grand_pipeline.spans import nfc
from grand_pipeline.types import Caption, DenseCaption, PhraseLink, Span

SOURCE = "grand"
CAPTIONERS = ("blip2", "llava")
"""GranD's two short captions, in the order in which it writes them."""


@dataclass(frozen=True)
class Grounded:
    """Texts with spans, and phrases with their objects."""

    links: tuple[PhraseLink, ...]
    captions: tuple[Caption, ...]
    dense: DenseCaption | None


def ground(annotation: Mapping[str, Any], ids: Collection[int], notes: Notes) -> Grounded:
    """Everything that an annotation says in words; `ids` are the objects there are."""
    listed = _listed(annotation)
    told = _phrases(listed, ids, notes)
    captions: list[Caption] = []
    links: dict[tuple[str, str], tuple[int, ...]] = {}
    for source, text, details in _captions(annotation, notes):
        if details is None:
            every = (
                Span(start, end, known)
                for phrase, known in told.items()
                for start, end in texts.places(text, phrase)
            )
            found = list(islice(every, values.VALUES + 1))
            values.bounded(len(found), "places of phrases")
        else:
            found = _spans(text, details, ids, told, notes)
            for span in found:
                links.setdefault((text[span.start : span.end], source), span.object_ids)
        captions.append(Caption(source, text, _apart(found, notes)))
    if listed is not None:
        links = {(phrase, _speaker(phrase, captions)): known for phrase, known in told.items()}
    linked = (PhraseLink(phrase, known, source) for (phrase, source), known in links.items())
    return Grounded(tuple(linked), tuple(captions), _dense(annotation, ids, notes))


def _listed(annotation: Mapping[str, Any]) -> list[Any] | None:
    """The phrases of `relationships`; None where the annotation does not list any."""
    relationships = annotation.get("relationships")
    listed = relationships.get("grounding") if isinstance(relationships, dict) else None
    return None if listed is None else values.listing(listed, "'grounding'")


def _phrases(
    listed: Sequence[Any] | None, ids: Collection[int], notes: Notes
) -> dict[str, tuple[int, ...]]:
    """Phrase -> objects; phrases whose objects are all gone are counted."""
    told: dict[str, tuple[int, ...]] = {}
    for entry in listed or ():
        said = entry if isinstance(entry, dict) else {}
        phrase = values.words(said.get("phrase"), notes, "phrase")
        known = _known(said.get("object_ids"), ids, notes)
        if phrase is None or not known:
            notes.count("phrases without an object, left out")
        else:
            before = told.get(nfc(phrase), ())
            told[nfc(phrase)] = tuple(dict.fromkeys((*before, *known)))
    return told


def _captions(
    annotation: Mapping[str, Any], notes: Notes
) -> list[tuple[str, str, list[Any] | None]]:
    """(source, text, grounded phrases or None where the revision has none) of each caption."""
    named: list[tuple[str, Any, list[Any] | None]] = []
    short = values.listing(annotation.get("short_captions"), "'short_captions'")
    bare = annotation.get("captions")
    if short:
        for n, entry in enumerate(short):
            said = entry if isinstance(entry, dict) else {"caption": entry}
            named.append((_captioner(n, short), said.get("caption"), said.get("details") or []))
    elif isinstance(bare, dict):
        told = ((values.words(name, notes, "captioner"), text) for name, text in bare.items())
        named = [(name or SOURCE, text, None) for name, text in told]
    else:
        listed = [bare] if isinstance(bare, str) else values.listing(bare, "'captions'")
        named = [(_captioner(n, listed), text, None) for n, text in enumerate(listed)]
    read = [(source, _caption(text, notes), more) for source, text, more in named]
    return [(source, nfc(text), more) for source, text, more in read if text is not None]


def _caption(value: Any, notes: Notes) -> str | None:
    return values.words(value, notes, "caption", values.TEXT_LENGTH)


def _captioner(index: int, listed: Sequence[Any]) -> str:
    return CAPTIONERS[index] if len(listed) == len(CAPTIONERS) else f"{SOURCE}_{index}"


def _dense(
    annotation: Mapping[str, Any], ids: Collection[int], notes: Notes
) -> DenseCaption | None:
    """The dense caption; GranD kept only answers that ended by themselves."""
    said = annotation.get("dense_caption")
    told = said if isinstance(said, dict) else {"caption": said}
    text = _caption(told.get("caption"), notes)
    if text is None:
        return None
    stored = nfc(text)
    found = _spans(stored, told.get("details"), ids, {}, notes)
    return DenseCaption(stored, _apart(found, notes), SOURCE, "stop", False)


def _spans(
    text: str,
    details: Any,
    ids: Collection[int],
    told: Mapping[str, tuple[int, ...]],
    notes: Notes,
) -> list[Span]:
    """The places of grounded phrases. GranD's short captions name one object of each; `told` knows
    all of them."""
    found: list[Span] = []
    for entry in values.listing(details, "'details'"):
        said = entry if isinstance(entry, dict) else {}
        phrase = values.words(said.get("phrase"), notes, "phrase")
        known = _known(said.get("ids", [said.get("id")]), ids, notes)
        if phrase is None or not known:
            notes.count("spans without a phrase or an object, left out")
            continue
        more = () if "ids" in said else told.get(nfc(phrase), ())
        place, held = texts.place(text, phrase, said.get("tokens_positive"))
        if place is None:
            notes.count("phrases that their caption does not hold, without span")
            continue
        notes.count("spans that did not cut out their phrase, found again", times=int(not held))
        found.append(Span(*place, more if more and set(known) <= set(more) else known))
    return found


def _apart(found: list[Span], notes: Notes) -> tuple[Span, ...]:
    """Spans that do not overlap, longer ones first; the same place twice is one span."""
    joined: dict[tuple[int, int], tuple[int, ...]] = {}
    for span in found:
        at = (span.start, span.end)
        joined[at] = tuple(dict.fromkeys((*joined.get(at, ()), *span.object_ids)))
    every = [Span(start, end, known) for (start, end), known in joined.items()]
    kept = spans.without_overlaps(spans.longest_first(every))
    notes.count("spans inside longer ones, left out", times=len(every) - len(kept))
    return kept


def _known(told: Any, ids: Collection[int], notes: Notes) -> tuple[int, ...]:
    """The ids that exist, each once."""
    listed = told if isinstance(told, list) else [told]
    known = [i for i in listed if type(i) is int and i in ids]
    notes.count("references to objects that do not exist", times=len(listed) - len(known))
    return tuple(dict.fromkeys(known))


def _speaker(phrase: str, captions: Sequence[Caption]) -> str:
    """The caption that holds a phrase; the data set itself where none does."""
    return next((c.source for c in captions if texts.places(c.text, phrase)), SOURCE)
