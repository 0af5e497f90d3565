"""Affordances of a GranD annotation, and texts about boxes that belong to no object.

GranD numbers objects anew after it has looked affordances up, so the ids in its files are believed
only where the objects have one of the labels that they stand beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from grand_pipeline.importers import texts, values
from grand_pipeline.importers.notes import Notes
from grand_pipeline.labels import normalize
from grand_pipeline.spans import nfc
from grand_pipeline.types import Affordance, RegionText, Size

Labels = Mapping[int, frozenset[str]]
"""Object id -> its labels in normal form."""


def affordances_of(told: Any, labels: Labels, notes: Notes) -> tuple[Affordance, ...]:
    """Uses whose ids all resolve: those given, or else the objects with one of the labels."""
    found: list[Affordance] = []
    listed = told if isinstance(told, dict) else {}
    values.bounded(len(listed), "affordances")
    for category, entry in listed.items():
        said = entry if isinstance(entry, dict) else {}
        words = _words(said.get("labels"), notes)
        ids = _ids(said.get("object_ids"), words, labels, notes)
        name = values.words(category, notes, "use")
        if name is None or not ids:
            notes.count("affordances without an object, left out")
            continue
        told_about = said.get("description") or None
        about = values.words(told_about, notes, "description", values.TEXT_LENGTH)
        found.append(Affordance(nfc(name), nfc(about) if about else None, ids, words))
    return tuple(found)


def _words(told: Any, notes: Notes) -> tuple[str, ...]:
    listed = told if isinstance(told, list) else [told]
    known = (values.words(word, notes, "label") for word in listed)
    return tuple(dict.fromkeys(nfc(word) for word in known if word is not None))


def _ids(told: Any, words: Sequence[str], labels: Labels, notes: Notes) -> tuple[int, ...]:
    listed = told if isinstance(told, list) else []
    wanted = {normalize(word) for word in words}
    right = [i for i in listed if type(i) is int and i in labels and wanted & labels[i]]
    if len(right) == len(listed):
        return tuple(dict.fromkeys(right))
    again = tuple(i for i, own in labels.items() if wanted & own)
    notes.count("affordances with stale ids, found again by their labels", times=int(bool(again)))
    return again


def regions_of(told: Any, size: Size | None, notes: Notes) -> tuple[RegionText, ...]:
    """The texts of `floating_attributes` with their boxes."""
    entries = told if isinstance(told, list) else []
    found = tuple(text for entry in entries for text in _region(entry, size, notes))
    values.bounded(len(found), "texts of regions")
    return found


def _region(entry: Any, size: Size | None, notes: Notes) -> Iterator[RegionText]:
    said = entry if isinstance(entry, dict) else {}
    box, score = values.box(said.get("bbox"), size, notes), values.number(said.get("score"))
    if box is not None:
        for text in plain_texts(said.get("attributes"), notes):
            yield RegionText(box, text, score)


def plain_texts(told: Any, notes: Notes) -> Iterable[str]:
    """Attributes, a list or one text, without the speakers' names that GranD left in them."""
    for item in told if isinstance(told, list) else [told]:
        text = values.words(item, notes, "attribute")
        if text is None:
            continue
        plain, spoken = texts.without_speaker(nfc(text))
        notes.count("attributes freed of a speaker's name", times=int(spoken and bool(plain)))
        notes.count("attributes that are empty, left out", times=int(not plain))
        if plain:
            yield plain
