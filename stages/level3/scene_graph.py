"""The scene graph of an image as the text that language models read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline import geometry, inert
from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
)
from grand_pipeline.graph import EMPTY, GraphNode, SceneGraph, by_label, named, told
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import LAYERS, Attribute, Instance, PhraseLink, Relation


@dataclass(frozen=True, kw_only=True)
class SceneGraphStage(Stage[None]):
    """Choose what the graph holds and write it down."""

    level: ClassVar[int] = 3
    version: ClassVar[int] = 2

    max_nodes: int = 100
    """Objects in the graph: those with an attribute first, then the largest."""

    min_score: float = 0.0
    """Objects with a lower score are left out; those without a score stay."""

    floating: bool = True
    """Whether an image without voted objects is described by its floating ones."""

    stuff: bool = True
    """Whether regions such as sky or grass are nodes."""

    captions: bool = True
    """Whether the short captions are part of the text."""

    phrases: bool = True
    """Whether the grounded phrases are part of the text."""

    relations: bool = True
    """Whether the relations are part of the text."""

    counts: bool = True
    """Whether the text says how many things there are of each class."""

    landmark: bool = True
    """Whether the scene category is part of the text."""

    attribute_sources: tuple[str, ...] = ()
    """Sources of attributes in order of preference; the rest follow by name."""

    max_phrases: int = 40
    """Phrases in the text, in caption order."""

    max_relations: int = 60
    """Relations in the text, places on stuff first, then in their stored order."""

    @property
    def reads(self) -> Reads:
        return (
            INSTANCES,
            ASSIGNED,
            ATTRIBUTES,
            PLACEMENTS,
            GROUNDED_CAPTIONS,
            LINKS,
            RELATIONS,
            LANDMARK,
        )

    @property
    def writes(self) -> Writes:
        return (SCENE_GRAPH,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [{SCENE_GRAPH: self.graph(record).text() or EMPTY} for record in records]

    def graph(self, record: Record) -> SceneGraph:
        """The scene graph of one image; nodes in id order."""
        nodes = self.nodes(record)
        ids = frozenset(node.object_id for node in nodes)
        stuff = frozenset(i.id for i in record[INSTANCES] if i.kind == "stuff")
        captions = (told(caption.text) for caption in record[GROUNDED_CAPTIONS])
        return SceneGraph(
            nodes=nodes,
            captions=tuple(dict.fromkeys(text for text in captions if text))
            if self.captions
            else (),
            phrases=_phrases(record[LINKS], ids)[: self.max_phrases] if self.phrases else (),
            relations=_relations(record[RELATIONS], ids, stuff)[: self.max_relations]
            if self.relations
            else (),
            counted=by_label(n for n in nodes if n.object_id not in stuff) if self.counts else (),
            landmark=record[LANDMARK] if self.landmark else None,
        )

    def nodes(self, record: Record) -> tuple[GraphNode, ...]:
        """The objects of the graph, in id order."""
        labels = {a.object_id: a.label for a in record[ASSIGNED]}
        places = {p.object_id: p for p in record[PLACEMENTS]}
        attributes = self._attributes(record.members(ATTRIBUTES))
        nodes: list[GraphNode] = []
        for instance in self._chosen(record[INSTANCES], attributes):
            place = places.get(instance.id)
            nodes.append(
                GraphNode(
                    instance.id,
                    named(labels.get(instance.id, instance.label)),
                    attributes.get(instance.id, ""),
                    place.layer if place else LAYERS[1],
                    place.group if place else 0,
                )
            )
        return tuple(nodes)

    def _chosen(
        self, instances: tuple[Instance, ...], attributes: Mapping[int, str]
    ) -> list[Instance]:
        voted = [i for i in instances if i.status == "object"]
        usable = voted or (list(instances) if self.floating else [])
        usable = [i for i in usable if i.score is None or i.score >= self.min_score]
        if not self.stuff:
            usable = [i for i in usable if i.kind != "stuff"]
        sizes = geometry.area(geometry.as_boxes([i.box for i in usable])).tolist()
        ranked = sorted(
            zip(usable, sizes, strict=True),
            key=lambda pair: (pair[0].id not in attributes, -pair[1], pair[0].id),
        )
        return sorted((i for i, _ in ranked[: self.max_nodes]), key=lambda i: i.id)

    def _attributes(self, members: Mapping[str, tuple[Attribute, ...]]) -> dict[int, str]:
        """Object id -> the first attribute text of the most preferred source that has one."""
        preferred = [source for source in self.attribute_sources if source in members]
        order = [*preferred, *(source for source in sorted(members) if source not in preferred)]
        chosen: dict[int, str] = {}
        for source in order:
            for attribute in members[source]:
                text = named(attribute.text, inert.TEXT)
                if text:
                    chosen.setdefault(attribute.object_id, text)
        return chosen


def _phrases(links: tuple[PhraseLink, ...], ids: frozenset[int]) -> tuple[PhraseLink, ...]:
    """Phrases of objects in the graph; equal texts of several captions once, ids merged."""
    merged: dict[str, tuple[int, ...]] = {}
    source: dict[str, str] = {}
    for link in links:
        text = named(link.text, inert.TEXT).lower()
        known = (*merged.get(text, ()), *(i for i in link.object_ids if i in ids))
        if text and known:
            merged[text] = tuple(dict.fromkeys(known))
            source.setdefault(text, link.source)
    return tuple(PhraseLink(text, found, source[text]) for text, found in merged.items())


def _relations(
    relations: tuple[Relation, ...], ids: frozenset[int], stuff: frozenset[int]
) -> tuple[Relation, ...]:
    """Relations between objects in the graph, each fact once, places on stuff first."""
    facts = {
        (r.subject, r.predicate, r.object): r
        for r in reversed(relations)
        if r.subject in ids and r.object in ids
    }
    return tuple(sorted(reversed(facts.values()), key=lambda r: r.object not in stuff))
