"""What GranD's files can hold of a published row, in a form in which two rows can be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from grand_pipeline.columns import Annotation, NamedAttribute, PublishedObject
from grand_pipeline.types import Caption, PhraseLink, Vote

SOURCE = "grand"


def held(row: Annotation) -> Annotation:
    """The row without what the format has no place for, its objects in the order of the file."""
    phrases: dict[str, dict[int, None]] = {}
    for link in row.phrases:
        phrases.setdefault(link.text, {}).update(dict.fromkeys(link.object_ids))
    dense, context = row.dense_caption, row.context
    return replace(
        row,
        tags=(),
        landmark=row.landmark and replace(row.landmark, source=SOURCE),
        objects=tuple(_object(o) for o in sorted(row.objects, key=lambda o: o.status != "object")),
        phrases=tuple(PhraseLink(text, tuple(ids), "") for text, ids in phrases.items()),
        relations=(),
        captions=tuple(Caption(str(n), c.text, c.spans) for n, c in enumerate(row.captions)),
        scene_graph=None,
        dense_caption=dense and replace(dense, source=SOURCE, finish_reason="stop", verified=False),
        context=context and replace(context, source=SOURCE, finish_reason="stop"),
        errors=(),
    )


def _single(value: float | None) -> Any:
    """As a run stores it."""
    return None if value is None else float(np.float32(value))


def _object(one: PublishedObject) -> PublishedObject:
    labels = dict.fromkeys(vote.label for vote in one.votes) or {one.label: None}
    return replace(
        one,
        kind=None,
        box=tuple(_single(side) for side in one.box),
        score=_single(one.score),
        depth=_single(one.depth),
        votes=tuple(Vote(SOURCE, label, None) for label in labels),
        attributes=tuple(NamedAttribute(SOURCE, a.text) for a in one.attributes),
        mask_score=None,
        layer=None,
        group=None,
    )
