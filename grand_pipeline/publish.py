"""The columns of a run joined into published rows. Pure: values in, annotations out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar

from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    CAPTIONS,
    CONTEXT,
    DENSE_CAPTION,
    FUSED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    MASKS,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
    TAGS,
    Annotation,
    Column,
    Family,
    ImageRow,
    NamedAttribute,
    PublishedObject,
    StageError,
)
from grand_pipeline.geometry import settled
from grand_pipeline.spans import nfc
from grand_pipeline.types import Attribute, Caption, Context, Instance, ObjectMask, Placement

T = TypeVar("T")

INGEST = "ingest"
"""The stage name under which an unreadable image is reported."""


def annotation_rows(
    images: Sequence[ImageRow],
    fragments: Mapping[str, Sequence[Any]],
    errors: Sequence[Sequence[StageError]],
) -> list[Annotation]:
    """One row per image, in order.

    `fragments` holds column name -> one plain Arrow value (or None) per image; columns that the
    run does not have are simply absent. `errors` are the failures of stages per image.
    """
    return [
        publish(image, {name: values[index] for name, values in fragments.items()}, failed)
        for index, (image, failed) in enumerate(zip(images, errors, strict=True))
    ]


def publish(
    image: ImageRow, columns: Mapping[str, Any], errors: Sequence[StageError] = ()
) -> Annotation:
    """The published row of one image from its columns (by name; plain or decoded values).

    What is missing becomes null or empty. Without instances (a run that ended earlier) the fused
    objects are published, and without grounded captions the bare ones. An unreadable image has
    its reason under `ingest` and nothing else.
    """
    if image.error is not None:
        return _unreadable(image, errors)
    return Annotation(
        image_id=image.image_id,
        uri=image.uri,
        width=image.width,
        height=image.height,
        tags=tuple(tag for tags in _members(TAGS, columns).values() for tag in tags),
        landmark=_value(LANDMARK, columns),
        objects=_objects(columns),
        phrases=_value(LINKS, columns) or (),
        relations=_value(RELATIONS, columns) or (),
        captions=_captions(columns),
        scene_graph=_value(SCENE_GRAPH, columns),
        dense_caption=_value(DENSE_CAPTION, columns),
        context=_context(columns),
        errors=tuple(errors),
    )


def _unreadable(image: ImageRow, errors: Sequence[StageError]) -> Annotation:
    reason = StageError(INGEST, image.error or "unreadable")
    others = tuple(error for error in errors if error.stage != INGEST)
    return Annotation(
        image_id=image.image_id,
        uri=image.uri,
        width=image.width,
        height=image.height,
        tags=(),
        landmark=None,
        objects=(),
        phrases=(),
        relations=(),
        captions=(),
        scene_graph=None,
        dense_caption=None,
        context=None,
        errors=(reason, *others),
    )


def _objects(columns: Mapping[str, Any]) -> tuple[PublishedObject, ...]:
    found = _value(INSTANCES, columns)
    instances = found if found is not None else _value(FUSED, columns) or ()
    labels = {a.object_id: a.label for a in _value(ASSIGNED, columns) or ()}
    given = _value(MASKS, columns) or ()
    masks = {m.object_id: m for m in given}
    places = {p.object_id: p for p in _value(PLACEMENTS, columns) or ()}
    attributes: dict[int, list[NamedAttribute]] = defaultdict(list)
    for attribute in _attributes(columns):
        named = NamedAttribute(attribute.source, attribute.text)
        attributes[attribute.object_id].append(named)
    return tuple(
        _object(
            instance,
            labels.get(instance.id, instance.label),
            tuple(attributes[instance.id]),
            masks.get(instance.id),
            places.get(instance.id),
        )
        for instance in settled(instances, given)
    )


def _attributes(columns: Mapping[str, Any]) -> Iterable[Attribute]:
    return (a for found in _members(ATTRIBUTES, columns).values() for a in found)


def _object(
    instance: Instance,
    label: str,
    attributes: tuple[NamedAttribute, ...],
    mask: ObjectMask | None,
    place: Placement | None,
) -> PublishedObject:
    return PublishedObject(
        id=instance.id,
        status=instance.status,
        kind=instance.kind,
        box=instance.box,
        score=instance.score,
        label=label,
        votes=instance.votes,
        attributes=attributes,
        mask=mask.mask if mask else None,
        mask_source=mask.source if mask else None,
        mask_score=mask.score if mask else None,
        depth=place.depth if place else None,
        layer=place.layer if place else None,
        group=place.group if place else None,
    )


def _captions(columns: Mapping[str, Any]) -> tuple[Caption, ...]:
    grounded = _value(GROUNDED_CAPTIONS, columns)
    if grounded is not None:
        return grounded
    bare = _members(CAPTIONS, columns)
    return tuple(Caption(source, nfc(text)) for source, text in bare.items())


def _context(columns: Mapping[str, Any]) -> Context | None:
    told = _value(CONTEXT, columns)
    if told is None:
        return None
    return Context(nfc(told.answer).strip(), told.source, told.finish_reason)


def _members(family: Family[T], columns: Mapping[str, Any]) -> dict[str, T]:
    """Source -> value of the members that are present, by name."""
    found: dict[str, T] = {}
    for name in sorted(name for name in columns if family.owns(name)):
        value = _value(family.of(family.source(name)), columns)
        if value is not None:
            found[family.source(name)] = value
    return found


def _value(column: Column[T], columns: Mapping[str, Any]) -> T | None:
    value = columns.get(column.name)
    # Decoded values are dataclasses and tuples; plain ones are dicts and lists.
    decoded = isinstance(value, tuple) or is_dataclass(value)
    return value if decoded or value is None else column.decode(value)
