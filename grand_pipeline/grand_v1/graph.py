"""Which objects a scene graph holds, and the graph as GranD's texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from grand_pipeline import inert
from grand_pipeline.graph import GraphNode
from grand_pipeline.types import LAYERS, Attribute, Instance, Landmark, PhraseLink


def chosen(
    instances: tuple[Instance, ...],
    described: Collection[int],
    most: int,
    defects: Collection[str] = (),
) -> list[Instance]:
    """The objects of a graph, at most `most`: the floating ones where there are no objects.

    `described` are the ids of objects with an attribute; of too many objects those stay first.
    D19: with more than `most` of them, a negative slice lets all of them and some others in.
    """
    voted = [i for i in instances if i.status == "object"]
    nodes = voted or list(instances)
    if len(nodes) <= most:
        return nodes
    first = [i for i in nodes if i.id in described]
    rest = [i for i in nodes if i.id not in described]
    if "D19" in defects:
        return first + rest[: most - len(first)]
    return (first + rest)[:most]


def by_preference(
    members: Mapping[str, tuple[Attribute, ...]], preferred: Sequence[str]
) -> list[Attribute]:
    """The attributes of all sources (by name): those of the preferred ones first."""
    first = [source for source in preferred if source in members]
    rest = sorted(members.keys() - set(first))
    return [attribute for source in (*first, *rest) for attribute in members[source]]


def described(attributes: Iterable[Attribute]) -> dict[int, str]:
    """Object id -> its first attribute, without what a model wrote before the first colon."""
    found: dict[int, str] = {}
    for attribute in attributes:
        found.setdefault(attribute.object_id, said(attribute.text))
    return {number: text for number, text in found.items() if text}


def said(text: str) -> str:
    """The text after its first colon: before it, GranD's region describer names a speaker."""
    return " ".join(text.split(":", 1)[-1].split())


def dense_text(
    nodes: Sequence[GraphNode],
    captions: Sequence[str],
    links: tuple[PhraseLink, ...],
    landmark: Landmark,
) -> str:
    """The graph as the model of the dense caption reads it, layers from near to far.

    Texts lose their colons, so that none can pass for a heading or for the ids of a phrase.
    """
    groups = {node.object_id: node.group for node in nodes}
    lines: list[str] = []
    for layer in LAYERS:
        inside = [node for node in nodes if node.layer == layer]
        lines += [f"{layer}:"] if inside else []
        for group in sorted({node.group for node in inside}):
            names = ", ".join(
                _named(node.label, node.attribute) for node in inside if node.group == group
            )
            lines.append(f"Group {group}: {names}")
    lines += ["", "Short Captions:", *map(_caption, captions), "", "Relationships:"]
    merged: dict[str, list[int]] = {}
    for link in links:
        merged.setdefault(_plain(link.text.lower(), inert.TEXT), []).extend(link.object_ids)
    for phrase, ids in merged.items():
        near = ", ".join(str(groups[i]) for i in dict.fromkeys(ids) if i in groups)
        lines.append(f"{phrase}, Group Ids: ({near})")
    lines += ["", "Landmarks:", _scene(landmark)]
    return "\n".join(lines).replace("_", " ")


def context_text(
    nodes: Sequence[Instance],
    labels: Mapping[int, str],
    told: Mapping[int, str],
    landmark: Landmark,
) -> str:
    """The graph as the model of the context reads it: objects with label and attribute by id."""
    names = [_named(labels.get(node.id, node.label), told.get(node.id, "")) for node in nodes]
    return "\n".join(["Objects:", *names, "", "Landmarks:", _scene(landmark)]).replace("_", " ")


def _named(label: str, attribute: str) -> str:
    name, told = _plain(label) or "object", _plain(attribute, inert.TEXT)
    return f"{name}/{told}" if told else name


def _scene(landmark: Landmark) -> str:
    return f"{_plain(landmark.category)}, {_plain(landmark.fine_category)}"


def _caption(text: str) -> str:
    return _plain(text, inert.CAPTION)


def _plain(text: str, most: int = inert.NAME) -> str:
    return inert.words(text, most, ":")
