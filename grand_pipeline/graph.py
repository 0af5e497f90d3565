"""The scene graph as a value and as the text that a language model reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from grand_pipeline import inert
from grand_pipeline.types import LAYERS, Landmark, PhraseLink, Relation

EMPTY = "(nothing was found in this image)"
"""The text of a graph without any block."""


@dataclass(frozen=True)
class GraphNode:
    """An object as the scene graph names it."""

    object_id: int
    label: str
    attribute: str
    layer: str
    group: int


@dataclass(frozen=True)
class Entry:
    """Alike objects of one group: of equal label, attribute and links.

    `links` are the predicates and objects of the relations whose subject they are.
    """

    nodes: tuple[GraphNode, ...]
    links: tuple[tuple[str, GraphNode], ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the objects, in the graph's order."""
        return tuple(node.object_id for node in self.nodes)

    def text(self) -> str:
        """`[2] cat (white) on [5] sand, left of [1] ball`."""
        node = self.nodes[0]
        said = named(node.attribute, inert.TEXT)
        attribute = f" ({said})" if said else ""
        links = ", ".join(f"{named(how)} {_node(to)}" for how, to in self.links)
        return f"{_refs(self.ids)} {_thing(node)}{attribute}{' ' if links else ''}{links}"


@dataclass(frozen=True)
class SceneGraph:
    """Objects in depth layers and groups, relations, captions, grounded phrases, landmark.

    The hierarchy of the GLaMM supplement (A.4), with its relations beside the objects.
    `counted` holds the ids of the things of each class (see `by_label`).
    `text()` is what a language model reads. Whatever the values are, its lines, ids and marks are
    the graph's own.
    """

    nodes: tuple[GraphNode, ...]
    captions: tuple[str, ...] = ()
    phrases: tuple[PhraseLink, ...] = ()
    relations: tuple[Relation, ...] = ()
    landmark: Landmark | None = None
    counted: tuple[tuple[int, ...], ...] = ()

    def layers(self) -> dict[str, dict[int, tuple[Entry, ...]]]:
        """Layer -> group number -> entries; near layers first, no empty layer.

        Relations whose object is no node of the graph are left out.
        """
        links: dict[int, list[tuple[str, GraphNode]]] = {}
        table = {node.object_id: node for node in self.nodes}
        for relation in self.relations:
            if relation.object in table:
                said = (relation.predicate, table[relation.object])
                links.setdefault(relation.subject, []).append(said)
        found: dict[str, dict[int, tuple[Entry, ...]]] = {}
        for layer in LAYERS:
            inside = [node for node in self.nodes if node.layer == layer]
            for group in sorted({node.group for node in inside}):
                members = [node for node in inside if node.group == group]
                found.setdefault(layer, {})[group] = _entries(members, links)
        return found

    def text(self) -> str:
        """The graph as plain text, near layers first; objects are referred to as `[id]`."""
        lines: list[str] = []
        for layer, groups in self.layers().items():
            lines.append(f"{layer}:")
            for group, entries in groups.items():
                lines.append(f"- group {group}: {'; '.join(entry.text() for entry in entries)}")
        if self.counted:
            labels = {node.object_id: _thing(node) for node in self.nodes}
            lines.append("Counts:")
            lines += [f"- {len(ids)} {labels[ids[0]]} {_refs(ids)}" for ids in self.counted]
        if self.captions:
            lines += ["Captions:", *(f"- {told(text)}" for text in self.captions)]
        if self.phrases:
            phrases = ((named(p.text, inert.TEXT), p.object_ids) for p in self.phrases)
            lines += ["Phrases:", *(f"- {text} {_refs(ids)}" for text, ids in phrases)]
        if self.landmark is not None:
            place = (named(self.landmark.category), named(self.landmark.fine_category))
            lines.append(f"Landmark: {', '.join(place)}")
        return "\n".join(lines)


def named(text: str, most: int = inert.NAME) -> str:
    """A name as it stands in a graph, without what could be mistaken for the graph's own marks."""
    return inert.words(text, most, "_();")


def told(caption: str) -> str:
    """A caption as it stands in a graph."""
    return inert.words(caption, inert.CAPTION)


def by_label(things: Iterable[GraphNode]) -> tuple[tuple[int, ...], ...]:
    """The ids of the things of each label, in the given order."""
    labels: dict[str, list[int]] = {}
    for thing in things:
        labels.setdefault(thing.label, []).append(thing.object_id)
    return tuple(tuple(ids) for ids in labels.values())


def _entries(
    nodes: list[GraphNode], links: dict[int, list[tuple[str, GraphNode]]]
) -> tuple[Entry, ...]:
    """The nodes of a group, alike ones together, each kind where its first one stands."""
    alike: dict[tuple[str, str, tuple[tuple[str, GraphNode], ...]], list[GraphNode]] = {}
    for node in nodes:
        own = tuple(links.get(node.object_id, ()))
        alike.setdefault((node.label, node.attribute, own), []).append(node)
    return tuple(Entry(tuple(same), own) for (_, _, own), same in alike.items())


def _thing(node: GraphNode) -> str:
    return named(node.label) or "object"


def _node(node: GraphNode) -> str:
    return f"{_refs((node.object_id,))} {_thing(node)}"


def _refs(ids: tuple[int, ...]) -> str:
    return "".join(f"[{i}]" for i in ids)
