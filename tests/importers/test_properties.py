"""Whatever stands in a file: it becomes values that can be stored, or one error that names it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.columns import (
    AFFORDANCES,
    DENSE_CAPTION,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LINKS,
    MASKS,
    PLACEMENTS,
)
from grand_pipeline.errors import SourceError
from grand_pipeline.importers import annotation
from grand_pipeline.importers.files import Found
from grand_pipeline.importers.grand_raw import KINDS
from grand_pipeline.importers.notes import Notes
from grand_pipeline.importers.raw_values import Given
from grand_pipeline.types import Size

SIZE: Size = (100, 200)
TEXTS = st.sampled_from(
    ["a dog", "A DOG  and a dog", "istant: x", "", " ", "\ud800", "\u05db\u05dc\u05d1", "e\u0301"]
)
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 300), st.integers(), st.floats(), TEXTS, st.text()
)
JSON = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
BOXES = st.lists(st.floats(-50, 250), min_size=4, max_size=4) | JSON


def objects(**fields: Any) -> st.SearchStrategy[Any]:
    """Objects with any of these keys, now and then something else altogether."""
    return st.fixed_dictionaries({}, optional=fields) | JSON


THINGS = st.lists(
    objects(
        bbox=BOXES,
        id=st.integers(-1, 4) | JSON,
        labels=st.lists(TEXTS, max_size=3) | JSON,
        label=TEXTS | JSON,
        score=JSON,
        attributes=JSON,
        depth=JSON,
        median_depth=JSON,
        segmentation=JSON,
    ),
    max_size=5,
)
DETAILS = st.lists(
    objects(
        phrase=TEXTS | JSON,
        tokens_positive=st.lists(st.integers(-2, 9), max_size=3) | JSON,
        id=st.integers(0, 4) | JSON,
        ids=st.lists(st.integers(0, 4), max_size=2) | JSON,
        object_ids=st.lists(st.integers(0, 4), max_size=2) | JSON,
    ),
    max_size=4,
)
CAPTIONED = objects(caption=TEXTS | JSON, details=DETAILS | JSON)
USES = st.dictionaries(
    TEXTS,
    objects(
        object_ids=st.lists(st.integers(-1, 5) | JSON, max_size=3) | JSON,
        labels=st.lists(TEXTS, max_size=2) | JSON,
        description=JSON,
    ),
    max_size=2,
)
ANNOTATIONS = st.fixed_dictionaries(
    {"objects": THINGS},
    optional={
        "floating_objects": THINGS | JSON,
        "landmark": JSON,
        "affordances": st.dictionaries(TEXTS, THINGS | JSON, max_size=2) | USES,
        "floating_attributes": THINGS | JSON,
        "captions": st.lists(TEXTS, max_size=3) | JSON,
        "short_captions": st.lists(CAPTIONED, max_size=3) | JSON,
        "dense_caption": CAPTIONED,
        "relationships": objects(grounding=DETAILS | JSON),
        "additional_context": JSON,
    },
)


@given(ANNOTATIONS, st.sampled_from([SIZE, None]))
def test_annotations_hold_together(said: dict[str, Any], size: Size | None) -> None:
    try:
        row = annotation.row_of(said, size, Notes())
    except SourceError:
        return
    for column, value in row.items():
        pa.array([column.encode(value)], column.type)
    ids = {instance.id for instance in row[INSTANCES]}
    assert len(ids) == len(row[INSTANCES])
    for instance in row[INSTANCES]:
        x1, y1, x2, y2 = instance.box
        assert 0 <= x1 < x2 and 0 <= y1 < y2
        assert size is None or (x2 <= size[1] and y2 <= size[0])
        assert instance.score is None or math.isfinite(instance.score)
    texts = [*row[GROUNDED_CAPTIONS], *([row[DENSE_CAPTION]] if row[DENSE_CAPTION] else [])]
    for text in texts:
        end = 0
        for span in text.spans:
            assert end <= span.start < span.end <= len(text.text)
            assert span.object_ids and ids.issuperset(span.object_ids)
            end = span.end
    assert all(ids.issuperset(link.object_ids) for link in row[LINKS])
    assert all(use.object_ids and ids.issuperset(use.object_ids) for use in row[AFFORDANCES])
    assert ids.issuperset(
        found.object_id for column in (MASKS, PLACEMENTS) for found in row[column]
    )


@given(
    st.sampled_from(["co_detr", "eva-02-01", "grit"]),
    st.lists(
        objects(bbox=BOXES, score=JSON, label=TEXTS | JSON, description=TEXTS, sam_mask=JSON),
        max_size=5,
    )
    | JSON,
)
def test_detections_are_finite_and_inside(source: str, entries: Any) -> None:
    found = Given(source, Found(Path("a.json"), None, "a", ""), SIZE, {}, Notes())
    given = _Spoken(**vars(found), inner={source: entries})
    try:
        read = KINDS[source].read(given)
    except SourceError:
        return
    pa.array([KINDS[source].columns[0].encode(read)], KINDS[source].columns[0].type)
    for detection in read:
        x1, y1, x2, y2 = detection.box
        assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]
        assert math.isfinite(detection.score) and detection.label.strip()


class _Spoken(Given):
    """A file whose content is at hand."""

    def __init__(self, inner: dict[str, Any], **fields: Any) -> None:
        super().__init__(**fields)
        object.__setattr__(self, "inner", inner)

    def image(self) -> dict[str, Any]:
        inner: dict[str, Any] = vars(self)["inner"]
        return inner
