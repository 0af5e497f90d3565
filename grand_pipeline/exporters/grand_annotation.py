"""A published row as a finished GranD annotation: pure, values in, JSON values out.

Keys, their order and their meaning are GranD's, so that tools for it read the result. Three are
more than GranD writes: `label` and `depth` of floating objects, `ids` in details of short captions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grand_pipeline.columns import Annotation, PublishedObject
from grand_pipeline.types import Affordance, Box, PhraseLink, RegionText, Span, Status

_MASK_SOURCES: Mapping[str, str] = {"auto": "SAM", "detector": "EVA", "box": "HQ_SAM"}
"""GranD's names for where a mask came from; "given" has none."""

Entry = dict[str, Any]
Boxes = Mapping[int, list[float]]
"""Object id -> its box as it is written."""


@dataclass(frozen=True)
class Beside:
    """What a run knows of an image beside its published row; `regions` are texts about boxes that
    belong to no object."""

    affordances: tuple[Affordance, ...] = ()
    regions: tuple[RegionText, ...] = ()


def annotation_of(row: Annotation, beside: Beside = Beside()) -> Entry:
    """The annotation of an image. Levels that the run has not reached are left out, as in GranD."""
    boxes = {one.id: _box(one.box) for one in row.objects}
    said: Entry = {
        "objects": _objects(row.objects, "object"),
        "floating_objects": _objects(row.objects, "floating"),
        "floating_attributes": [_region(region) for region in beside.regions],
        "landmark": _landmark(row),
        "affordances": _affordances(beside.affordances, boxes),
        "id_counter": max(boxes, default=-1) + 1,
        "relationships": _relationships(row),
        "short_captions": [
            {
                "caption": caption.text,
                "details": [
                    {**detail, "id": detail["ids"][0], "bbox": detail["bbox"][0]}
                    for detail in _details(caption.text, caption.spans, boxes)
                ],
            }
            for caption in row.captions
        ],
    }
    if row.dense_caption is not None:
        text = row.dense_caption.text
        details = _details(text, row.dense_caption.spans, boxes)
        details.sort(key=lambda detail: -len(detail["phrase"]))
        said["dense_caption"] = {"caption": text, "details": details}
    if row.context is not None:
        said["additional_context"] = row.context.text
    return said


def _objects(objects: Iterable[PublishedObject], status: Status) -> list[Entry]:
    return [_object(one) for one in objects if one.status == status]


def _object(one: PublishedObject) -> Entry:
    labels = list(dict.fromkeys(vote.label for vote in one.votes))
    said: Entry = {
        "bbox": _box(one.box),
        "labels": labels or [one.label] * bool(one.label),
        "attributes": [attribute.text for attribute in one.attributes] or None,
        "id": one.id,
    }
    for key, value in (("score", one.score), ("depth", one.depth)):
        if value is not None and math.isfinite(value):
            said[key] = _short(value)
    if one.label:
        said["label"] = one.label
    if one.mask is not None:
        said["segmentation"] = {"size": list(one.mask.size), "counts": one.mask.counts}
        source = _MASK_SOURCES.get(one.mask_source or "")
        if source is not None:
            said["segmentation_source"] = source
    return said


def _region(region: RegionText) -> Entry:
    score = {} if region.score is None else {"score": _short(region.score)}
    return {"bbox": _box(region.box), "labels": [], **score, "attributes": [region.text]}


def _landmark(row: Annotation) -> Entry | str:
    found = row.landmark
    if found is None:
        return ""
    return {"category": found.category, "fine_category": found.fine_category}


def _affordances(found: Sequence[Affordance], boxes: Boxes) -> dict[str, Entry]:
    """Category -> use; only objects that are published count."""
    said: dict[str, Entry] = {}
    for use in found:
        ids = [object_id for object_id in use.object_ids if object_id in boxes]
        if ids:
            said[use.category] = {
                "description": use.description or "",
                "object_ids": ids,
                "labels": list(use.labels),
            }
    return said


def _relationships(row: Annotation) -> Entry:
    phrases = _by_text(row.phrases)
    used = {object_id for ids in phrases.values() for object_id in ids}
    return {
        "object_ids": [o.id for o in row.objects if o.id in used and o.status == "object"],
        "floating_object_ids": [
            o.id for o in row.objects if o.id in used and o.status == "floating"
        ],
        "grounding": [{"phrase": text, "object_ids": ids} for text, ids in phrases.items()],
    }


def _by_text(links: Iterable[PhraseLink]) -> dict[str, list[int]]:
    """Phrase -> its objects: GranD keeps a phrase of several captions once."""
    found: dict[str, dict[int, None]] = {}
    for link in links:
        found.setdefault(link.text, {}).update(dict.fromkeys(link.object_ids))
    return {text: list(ids) for text, ids in found.items()}


def _details(text: str, spans: Iterable[Span], boxes: Boxes) -> list[Entry]:
    """Grounded phrases, in the order of the text."""
    return [
        {
            "phrase": text[span.start : span.end],
            "tokens_positive": [span.start, span.end],
            "ids": list(span.object_ids),
            "bbox": [boxes[object_id] for object_id in span.object_ids],
        }
        for span in spans
        if span.object_ids and boxes.keys() >= set(span.object_ids)
    ]


def _box(box: Box) -> list[float]:
    return [_short(side) for side in box]


def _short(value: float) -> float:
    """The shortest number that is the same in single precision: 0.9, not 0.8999999761581421."""
    return float(str(np.float32(value)))
