"""One finished GranD annotation, of whatever revision, as values of our columns.

Revisions differ: attributes as list, text or null; `depth` or `median_depth`; bare `captions` or
grounded `short_captions`; labels assigned or not; masks or none; ids with gaps, or twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grand_pipeline import geometry, layers
from grand_pipeline.columns import (
    AFFORDANCES,
    ASSIGNED,
    ATTRIBUTES,
    CONTEXT,
    DENSE_CAPTION,
    DESCRIPTIONS,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    MASKS,
    PLACEMENTS,
)
from grand_pipeline.errors import SourceError
from grand_pipeline.generation import Generation
from grand_pipeline.importers import grounding, uses, values
from grand_pipeline.importers.notes import Notes
from grand_pipeline.importers.raw_values import landmark_of
from grand_pipeline.labels import normalize
from grand_pipeline.spans import nfc
from grand_pipeline.stage import Row
from grand_pipeline.types import (
    AssignedLabel,
    Attribute,
    Box,
    Instance,
    MaskSource,
    ObjectMask,
    Placement,
    Size,
    Status,
    Vote,
)

SOURCE = "grand"
"""Whose word votes, attributes and texts are: the files do not say which model's."""

COLUMNS = (
    *(INSTANCES, ASSIGNED, MASKS, ATTRIBUTES.of(SOURCE), PLACEMENTS, LANDMARK),
    *(LINKS, GROUNDED_CAPTIONS, DENSE_CAPTION, CONTEXT, AFFORDANCES, DESCRIPTIONS.of(SOURCE)),
)
_LISTS: tuple[tuple[str, Status], ...] = (("objects", "object"), ("floating_objects", "floating"))
_MASK_SOURCES: Mapping[str, MaskSource] = {"SAM": "auto", "EVA": "detector", "HQ_SAM": "box"}
_GROUP_DISTANCE = 200.0  # pixels between box centres, as in GranD's scene graphs
_LEVELS = ("additional_context", "dense_caption", "short_captions", "captions", "relationships")
_MOST_ID = 2**31 - 1


@dataclass(frozen=True)
class Entry:
    """An object as it stands in the file, with the id that it keeps or gets."""

    id: int
    status: Status
    box: Box
    said: Mapping[str, Any]


def completeness(annotation: Mapping[str, Any]) -> int:
    """How far GranD had come with an annotation: what ranks several files of one image."""
    return sum(2**rank for rank, key in enumerate(reversed(_LEVELS)) if annotation.get(key))


def size_told(annotation: Mapping[str, Any]) -> Size | None:
    """(height, width) by the first mask, or None."""
    listed = (annotation.get(name) for name, _ in _LISTS)
    entries = (entry for found in listed if isinstance(found, list) for entry in found)
    return values.size_of_masks(entries, "segmentation")


def row_of(annotation: Mapping[str, Any], size: Size | None, notes: Notes) -> Row:
    """The columns of an annotation of an image of `size` (height, width). Raises SourceError."""
    if not any(name in annotation for name, _ in _LISTS):
        raise SourceError(
            "no GranD annotation: neither objects nor floating_objects; keys: "
            f"{values.keys_shown(dict(annotation))}"
        )
    entries = _entries(annotation, size, notes)
    ids = {entry.id for entry in entries}
    grounded = grounding.ground(annotation, ids, notes)
    said = tuple(attribute for entry in entries for attribute in _attributes(entry, notes))
    values.bounded(len(said), "attributes")
    instances = tuple(_instance(entry, notes) for entry in entries)
    values.bounded(sum(len(instance.votes) for instance in instances), "labels")
    context = values.words(
        annotation.get("additional_context"), notes, "context", values.TEXT_LENGTH
    )
    return {
        INSTANCES: instances,
        ASSIGNED: tuple(a for e in entries if (a := _assigned(e, notes)) is not None),
        MASKS: tuple(m for e in entries if (m := _mask(e, size, notes)) is not None),
        ATTRIBUTES.of(SOURCE): said,
        PLACEMENTS: _placements(entries, notes),
        LANDMARK: landmark_of(annotation.get("landmark"), SOURCE, notes),
        LINKS: grounded.links,
        GROUNDED_CAPTIONS: grounded.captions,
        DENSE_CAPTION: grounded.dense,
        CONTEXT: Generation("", nfc(context), SOURCE, "stop") if context else None,
        AFFORDANCES: uses.affordances_of(annotation.get("affordances"), _named(entries), notes),
        DESCRIPTIONS.of(SOURCE): uses.regions_of(
            annotation.get("floating_attributes"), size, notes
        ),
    }


def _entries(annotation: Mapping[str, Any], size: Size | None, notes: Notes) -> list[Entry]:
    """The objects that have a box; an id that is missing or taken is replaced by a new one."""
    usable: list[tuple[Status, Box, Mapping[str, Any]]] = []
    for name, status in _LISTS:
        for said in values.listing(annotation.get(name), f"'{name}'"):
            box = values.box(said.get("bbox"), size, notes) if isinstance(said, dict) else None
            if box is not None:
                usable.append((status, box, said))
            else:
                notes.count("objects without a usable box, left out")
    given = [_id(said.get("id")) for _, _, said in usable]
    fresh = max((i for i in given if i is not None), default=-1) + 1
    taken: set[int] = set()
    entries: list[Entry] = []
    for (status, box, said), wanted in zip(usable, given, strict=True):
        if wanted is not None and wanted not in taken:
            number = wanted
        else:
            number, fresh = fresh, fresh + 1
            notes.count("objects with no id of their own, given one")
        taken.add(number)
        entries.append(Entry(number, status, box, said))
    return entries


def _id(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST_ID else None


def _instance(entry: Entry, notes: Notes) -> Instance:
    labels = _labels(entry, notes)
    own = values.words(entry.said.get("label"), Notes(), "label")  # Counted with the assigned.
    label = labels[0] if labels else own or ""
    score = values.number(entry.said.get("score"))
    unknown = score is None and entry.said.get("score") is not None
    notes.count("scores that are no finite number, left out", times=int(unknown))
    notes.count("objects without any label", times=int(not label))
    votes = tuple(Vote(SOURCE, name, None) for name in dict.fromkeys(labels))
    name = normalize(label) or label
    return Instance(entry.id, entry.status, None, entry.box, score, name, votes)


def _labels(entry: Entry, notes: Notes) -> list[str]:
    told = entry.said.get("labels")
    listed = told if isinstance(told, list) else [told]
    found = (values.words(label, notes, "label") for label in listed)
    return [label for label in found if label is not None]


def _assigned(entry: Entry, notes: Notes) -> AssignedLabel | None:
    label = values.words(entry.said.get("label"), notes, "label")
    return None if label is None else AssignedLabel(entry.id, normalize(label) or label, None)


def _mask(entry: Entry, size: Size | None, notes: Notes) -> ObjectMask | None:
    found = values.rle(entry.said.get("segmentation"), size, notes)
    told = entry.said.get("segmentation_source")
    source = _MASK_SOURCES.get(told, "given") if isinstance(told, str) else "given"
    return None if found is None else ObjectMask(entry.id, found, source, None)


def _attributes(entry: Entry, notes: Notes) -> Iterable[Attribute]:
    told = uses.plain_texts(entry.said.get("attributes"), notes)
    return (Attribute(entry.id, SOURCE, text) for text in told)


def _named(entries: Sequence[Entry]) -> dict[int, frozenset[str]]:
    """Object id -> all its labels in normal form."""
    quiet = Notes()  # What is wrong with labels has been counted before.
    return {
        entry.id: frozenset(
            normalize(label)
            for label in (*_labels(entry, quiet), entry.said.get("label"))
            if isinstance(label, str)
        )
        for entry in entries
    }


def _placements(entries: Sequence[Entry], notes: Notes) -> tuple[Placement, ...]:
    """Depths as given; layers and groups by GranD's rules, since the files leave them out."""
    placed: list[tuple[Entry, float]] = []
    for entry in entries:
        told = entry.said.get("depth", entry.said.get("median_depth"))
        depth = values.number(told)
        unknown = depth is None and told is not None
        notes.count("depths that are no finite number, left out", times=int(unknown))
        if depth is not None:
            placed.append((entry, depth))
    if not placed:
        return ()
    depths = [depth for _, depth in placed]
    voted = [entry.status == "object" for entry, _ in placed]
    names = [layers.layer_of(place) for place in layers.coordinates(depths, voted).tolist()]
    boxes = geometry.as_boxes([entry.box for entry, _ in placed])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    numbers = layers.groups(centres, names, [False] * len(placed), _GROUP_DISTANCE)
    return tuple(
        Placement(entry.id, depth, name, number)
        for (entry, depth), name, number in zip(placed, names, numbers, strict=True)
    )
