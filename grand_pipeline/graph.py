"""The scene graph as a value and as the text that a language model reads."""

from __future__ import annotations

from dataclasses import dataclass

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
class SceneGraph:
    """Objects in depth layers and groups, captions, grounded phrases, relations, landmark.

    The hierarchy of the GLaMM supplement (A.4). `text()` is what a language model reads.
    """

    nodes: tuple[GraphNode, ...]
    captions: tuple[str, ...] = ()
    phrases: tuple[PhraseLink, ...] = ()
    relations: tuple[Relation, ...] = ()
    landmark: Landmark | None = None

    def text(self) -> str:
        """The graph as plain text, near layers first; objects are referred to as `[id]`."""
        lines: list[str] = []
        for layer in LAYERS:
            inside = [node for node in self.nodes if node.layer == layer]
            if inside:
                lines.append(f"{layer}:")
            for group in sorted({node.group for node in inside}):
                names = (_node_text(node) for node in inside if node.group == group)
                lines.append(f"- group {group}: {', '.join(names)}")
        if self.captions:
            lines += ["Captions:", *(f"- {text}" for text in self.captions)]
        if self.phrases:
            lines += ["Phrases:", *(f"- {p.text} {_refs(p.object_ids)}" for p in self.phrases)]
        if self.relations:
            lines.append("Relations:")
            lines += [f"- [{r.subject}] {r.predicate} [{r.object}]" for r in self.relations]
        if self.landmark is not None:
            lines.append(f"Landmark: {self.landmark.category}, {self.landmark.fine_category}")
        return "\n".join(lines)


def _node_text(node: GraphNode) -> str:
    attribute = f" ({node.attribute})" if node.attribute else ""
    return f"[{node.object_id}] {node.label}{attribute}"


def _refs(ids: tuple[int, ...]) -> str:
    return " ".join(f"[{i}]" for i in ids)
