"""What the tiny language model learns to say: answers written from a scene graph by rule.

The answers follow the order of the graph's text, so that every word of an answer can be found in
the prompt: the next object, its colour, its id, the first relation it is the subject of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from grand_pipeline.graph import GraphNode, SceneGraph
from grand_pipeline.picturebook.knowledge import PLACE_FACTS, THING_FACTS
from grand_pipeline.picturebook.lexicon import NUMBERS, article
from grand_pipeline.picturebook.vocabulary import SCENES, STUFF, THINGS
from grand_pipeline.types import LAYERS, Landmark, Relation

Rng = np.random.Generator

LEAST_FACTS, MOST_FACTS = 5, 6  # sentences of a context, where the graph has classes enough
NOTHING = "Nothing is known about this picture."  # what is said of an empty graph
_OPENINGS = ("The picture shows {}.", "This is {}.")
_WHERE = {
    "Immediate Foreground": "Close up",
    "Foreground": "In the foreground",
    "Midground": "In the middle",
    "Background": "In the background",
}
_PLURALS = {thing.name: thing.plural for thing in THINGS.values()}
_PLACES = {(kind.category, kind.fine_category): kind.name for kind in SCENES.values()}


def ordered(graph: SceneGraph) -> dict[str, list[GraphNode]]:
    """The nodes by layer, near to far, in the order of the graph's text; no empty layer."""
    layers: dict[str, list[GraphNode]] = {}
    for layer in LAYERS:
        inside = [node for node in graph.nodes if node.layer == layer]
        if inside:
            layers[layer] = sorted(inside, key=lambda node: node.group)
    return layers


def dense_caption(graph: SceneGraph, rng: Rng) -> str:
    """One sentence on the scene, one per layer; every mention is `<p>a red car</p>[id]`.

    Only what the graph says is said. Neighbours of one class and colour are counted together.
    An object that is the subject of relations is put in place by the first one.
    """
    names = {node.object_id: node.label for node in graph.nodes}
    first: dict[int, Relation] = {}
    for relation in graph.relations:
        if relation.object in names:
            first.setdefault(relation.subject, relation)
    sentences = [] if graph.landmark is None else [_opening(graph.landmark, rng)]
    for layer, nodes in ordered(graph).items():
        alike = groupby(nodes, key=lambda node: (node.label, node.attribute))
        mentions = [_mention(list(group), first, names) for _, group in alike]
        sentences.append(f"{_WHERE[layer]} we see {_listed(mentions)}.")
    return " ".join(sentences) or NOTHING


def context(graph: SceneGraph) -> str:
    """General knowledge: a sentence on the kind of place, then one per class, near to far.

    At most six sentences; where classes are few they and the place get more sentences each, so
    that there are five. Things that the world knows nothing about are passed over.
    """
    landmark = graph.landmark
    place = None if landmark is None else (landmark.category, landmark.fine_category)
    about_place = PLACE_FACTS[_PLACES[place]] if place in _PLACES else ()
    nodes = [node for inside in ordered(graph).values() for node in inside]
    classes = list(dict.fromkeys(node.label for node in nodes if node.label in THING_FACTS))
    told = [*about_place[:1], *(THING_FACTS[name][0] for name in classes)][:MOST_FACTS]
    more = [*(THING_FACTS[name][1] for name in classes), *about_place[1:]]
    told += more[: max(0, LEAST_FACTS - len(told))]
    return " ".join(told) or NOTHING


def _opening(landmark: Landmark, rng: Rng) -> str:
    category = landmark.category.lower()
    opening = _OPENINGS[int(rng.integers(len(_OPENINGS)))]
    return opening.format(f"{article(category)} {category}")


def _mention(
    nodes: Sequence[GraphNode], relations: dict[int, Relation], names: dict[int, str]
) -> str:
    """`<p>a red car</p>[0] on <p>the road</p>[4]`, or `<p>two red balls</p>[1][4]`."""
    node, many = nodes[0], len(nodes)
    name = _PLURALS.get(node.label, f"{node.label}s") if many > 1 else node.label
    words = [node.attribute, name] if node.attribute else [name]
    lead = NUMBERS.get(many, str(many)) if many > 1 else _determiner(node, words[0])
    said = f"<p>{' '.join([lead, *words])}</p>{_refs(n.object_id for n in nodes)}"
    link = relations.get(node.object_id)
    if many > 1 or link is None:
        return said
    return f"{said} {link.predicate} <p>the {names[link.object]}</p>{_refs([link.object])}"


def _determiner(node: GraphNode, following: str) -> str:
    return "the" if node.label in STUFF else article(following)


def _refs(ids: Iterable[int]) -> str:
    return "".join(f"[{number}]" for number in ids)


def _listed(mentions: Sequence[str]) -> str:
    if len(mentions) == 1:
        return mentions[0]
    return f"{', '.join(mentions[:-1])} and {mentions[-1]}"
