"""Relations between objects: from boxes and depths, and from what captions say between phrases."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import (
    ASSIGNED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    MASKS,
    PLACEMENTS,
    RELATIONS,
)
from grand_pipeline.labels import normalize
from grand_pipeline.record import Record
from grand_pipeline.relations import spatial_relations
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import (
    AssignedLabel,
    Caption,
    FloatArray,
    Instance,
    Placement,
    Relation,
    Size,
)

GEOMETRY = "geometry"
"""Source of the relations that follow from boxes, depths and labels."""

_LINKING_WORDS = frozenset(("and", "or", "with", "but", "while", "then"))
_MAX_WORDS = 4


@dataclass(frozen=True, kw_only=True)
class Relations(Stage[None]):
    """Subject, predicate, object by ids. Boxes are those that are published."""

    version: ClassVar[int] = 2
    level: ClassVar[int] = 2

    normalize_depth: bool = True
    """Whether depths are scaled to 0..1 over the objects of the image first. Set to false for a
    depth model whose values are already on that scale."""

    floating: bool = False
    """Whether floating objects take part in spatial relations."""

    captions: bool = False
    """Whether to read relations from captions too: the words between two grounded phrases."""

    @property
    def reads(self) -> Reads:
        base: Reads = (INSTANCES, MASKS, ASSIGNED, PLACEMENTS)
        return (*base, GROUNDED_CAPTIONS) if self.captions else base

    @property
    def writes(self) -> Writes:
        return (RELATIONS,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = []
        for record in records:
            objects = geometry.settled(record[INSTANCES], record[MASKS])
            spatial = self.spatial(objects, record[ASSIGNED], record[PLACEMENTS], record.size)
            said = record[GROUNDED_CAPTIONS] if self.captions else ()
            told = [relation for caption in said for relation in relations_told(caption)]
            rows.append({RELATIONS: (*spatial, *dict.fromkeys(told))})
        return rows

    def spatial(
        self,
        instances: tuple[Instance, ...],
        assigned: tuple[AssignedLabel, ...],
        placements: tuple[Placement, ...],
        size: Size,
    ) -> tuple[Relation, ...]:
        """Relations by `grand_pipeline.relations`, in object ids; `size` is (height, width).

        Objects without a placement have no depth and take no part.
        """
        labels = {a.object_id: a.label for a in assigned}
        depths = {p.object_id: p.depth for p in placements}
        nodes = [i for i in instances if i.id in depths and (self.floating or i.status == "object")]
        values = np.array([depths[node.id] for node in nodes], np.float32)
        triples = spatial_relations(
            geometry.as_boxes([node.box for node in nodes]),
            _scaled(values) if self.normalize_depth else values,
            [node.kind for node in nodes],
            [normalize(labels.get(node.id, node.label)) for node in nodes],
            size,
        )
        return tuple(
            Relation(nodes[t.subject].id, t.predicate, nodes[t.object].id, GEOMETRY)
            for t in triples
        )


def _scaled(depths: FloatArray) -> FloatArray:
    """Depths (n,) stretched to 0..1; equal depths become 0."""
    if not len(depths):
        return depths
    span = float(depths.max() - depths.min())
    return (depths - depths.min()) / span if span > 0 else np.zeros_like(depths)


def relations_told(caption: Caption) -> Iterator[Relation]:
    """What a caption says between neighbouring grounded phrases of one object each.

    At most four words, none of them a mere conjunction, no punctuation.
    """
    spans = sorted(caption.spans, key=lambda span: span.start)
    for first, second in itertools.pairwise(spans):
        words = caption.text[first.end : second.start].lower().split()
        plain = all(re.fullmatch(r"[^\W\d_]+", word) for word in words)
        single = len(first.object_ids) == len(second.object_ids) == 1
        if (
            single
            and first.object_ids != second.object_ids
            and plain
            and 0 < len(words) <= _MAX_WORDS
            and not _LINKING_WORDS.intersection(words)
        ):
            yield Relation(
                first.object_ids[0], " ".join(words), second.object_ids[0], caption.source
            )
