"""What the published rows of a run hold, known from the footers of its files alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow.parquet as pq

from grand_pipeline.errors import RunError, suggest

LEAVES = {
    "tags": "tags.list.element.name",
    "landmark": "landmark.category",
    "objects": "objects.list.element.id",
    "objects.mask": "objects.list.element.mask.counts",
    "objects.attributes": "objects.list.element.attributes.list.element.text",
    "objects.depth": "objects.list.element.depth",
    "phrases": "phrases.list.element.text",
    "relations": "relations.list.element.subject",
    "captions": "captions.list.element.text",
    "captions.spans": "captions.list.element.spans.list.element.start",
    "scene_graph": "scene_graph",
    "dense_caption": "dense_caption.text",
    "dense_caption.spans": "dense_caption.spans.list.element.start",
    "context": "context.text",
}
"""Content -> a Parquet leaf that has values where the content is."""

MAKERS = {
    "tags": "tags",
    "landmark": "landmark",
    "objects": "fusion",
    "objects.mask": "masks",
    "objects.attributes": "attributes",
    "objects.depth": "placement",
    "phrases": "linking",
    "relations": "relations",
    "captions": "captions",
    "captions.spans": "linking",
    "scene_graph": "scene_graph",
    "dense_caption": "dense_grounding",
    "dense_caption.spans": "dense_grounding",
    "context": "context",
}
"""Content -> the stage that makes it."""


def present(footers: Iterable[pq.FileMetaData], names: Iterable[str]) -> set[str]:
    """Those of the contents `names` of which any row has some.

    Files of others that count no nulls are taken to have what their schema names.
    """
    missing = set(names)
    found: set[str] = set()
    for footer in footers:
        if not missing:
            break
        places = _places(footer)
        held = {name for name in missing if _anywhere(footer, places.get(LEAVES[name]))}
        found |= held
        missing -= held
    return found


def require(run: str, wanted: Iterable[str], footers: Sequence[pq.FileMetaData]) -> None:
    """Raise RunError when a content is in no published row, with what there is and its stage."""
    names = sorted(wanted)
    for name in names:
        if name not in LEAVES:
            raise RunError(f"published rows have no '{name}'.{suggest(name, LEAVES)}")
    there = present(footers, names)
    for name in names:
        if name not in there:
            known = ", ".join(sorted(present(footers, LEAVES))) or "nothing"
            raise RunError(
                f"the recipe needs '{name}', of which run '{run}' has nothing; it has {known}. The "
                f"stage '{MAKERS[name]}' makes it: build the run with a preset that has this "
                "stage, without --until before it"
            )


def has_values(footer: pq.FileMetaData, leaf: str) -> bool:
    """Whether a leaf column has any value in a file."""
    return _anywhere(footer, _places(footer).get(leaf))


def is_full(footer: pq.FileMetaData, leaf: str) -> bool:
    """Whether a leaf column is known to have no null in a file."""
    place = _places(footer).get(leaf)
    if place is None:
        return False
    counts = (footer.row_group(n).column(place).statistics for n in range(footer.num_row_groups))
    return all(c is not None and c.has_null_count and c.null_count == 0 for c in counts)


def _places(footer: pq.FileMetaData) -> dict[str, int]:
    """Leaf -> number of its column."""
    return {footer.schema.column(n).path: n for n in range(footer.num_columns)}


def _anywhere(footer: pq.FileMetaData, place: int | None) -> bool:
    if place is None:
        return False
    groups = range(footer.num_row_groups)
    return any(_has_values(footer.row_group(number).column(place)) for number in groups)


def _has_values(chunk: pq.ColumnChunkMetaData) -> bool:
    counts = chunk.statistics
    return bool(chunk.num_values if counts is None else counts.num_values)
