"""GranD's scene graph as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    PLACEMENTS,
    SCENE_GRAPH,
)
from grand_pipeline.grand_v1 import graph
from grand_pipeline.graph import EMPTY, GraphNode, SceneGraph, by_label
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes


@dataclass(frozen=True, kw_only=True)
class GrandV1SceneGraph(Stage[None]):
    """Choose the nodes of the graph and write it down."""

    level: ClassVar[int] = 3
    version: ClassVar[int] = 2

    max_nodes: int = 100
    """Objects in the graph, those with an attribute first."""

    style: Literal["grand", "references"] = "grand"
    """grand: the text that GranD's models read. references: the same nodes and their counts, with
    ids, for models that have learned to read those."""

    attribute_sources: tuple[str, ...] = ("gpt4roi", "grit")
    """Sources of attributes in order of preference; the rest follow by name."""

    defects: tuple[Literal["D19"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    @property
    def reads(self) -> Reads:
        base: Reads = (INSTANCES, ASSIGNED, ATTRIBUTES, PLACEMENTS)
        return (*base, GROUNDED_CAPTIONS, LINKS, LANDMARK)

    @property
    def writes(self) -> Writes:
        return (SCENE_GRAPH,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [{SCENE_GRAPH: self.text(record)} for record in records]

    def text(self, record: Record) -> str:
        """The graph of one image. Objects without depth are left out."""
        labels = {a.object_id: a.label for a in record[ASSIGNED]}
        places = {p.object_id: p for p in record[PLACEMENTS]}
        told = graph.described(
            graph.by_preference(record.members(ATTRIBUTES), self.attribute_sources)
        )
        chosen = graph.chosen(record[INSTANCES], told, self.max_nodes, self.defects)
        nodes = tuple(
            GraphNode(
                i.id,
                labels.get(i.id, i.label),
                told.get(i.id, ""),
                places[i.id].layer,
                places[i.id].group,
            )
            for i in chosen
            if i.id in places
        )
        landmark = record[LANDMARK]
        if self.style == "references":
            # Stuff is not countable.
            things = {i.id for i in chosen if i.kind != "stuff"}
            counted = by_label(n for n in nodes if n.object_id in things)
            return SceneGraph(nodes, counted=counted, landmark=landmark).text() or EMPTY
        captions = [caption.text.strip() for caption in record[GROUNDED_CAPTIONS]]
        return graph.dense_text(nodes, captions, record[LINKS], landmark)
