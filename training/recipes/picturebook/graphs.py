"""Random scene graphs of the picture-book world, like those of the pipeline but broader.

Classes mostly fit one kind of scene, and several things of a class are frequent; ids may have
gaps; attributes, places, relations, counts and the landmark may be missing or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from grand_pipeline.graph import GraphNode, SceneGraph, by_label
from grand_pipeline.picturebook.vocabulary import (
    COLORS,
    HYPERNYMS,
    SCENES,
    STUFF,
    SYNONYMS,
    THINGS,
    names_in,
)
from grand_pipeline.relations import PREDICATES
from grand_pipeline.types import LAYERS, Landmark, Relation

Rng = np.random.Generator

MOST_IDS = 40
_COLORS = tuple(COLORS)
_NAMES = tuple(THINGS)
_RARE = (*SYNONYMS, *HYPERNYMS)
_OTHER_LANDMARKS = (
    ("Indoor scene", "Work space"),
    ("Indoor scene", "Public space"),
    ("Outdoor scene", "Urban"),
    ("Transportation scene", "Port and harbor"),
    ("Sports and recreation scene", "Sporting venue"),
)


def random_graph(rng: Rng, count: int) -> SceneGraph:
    """A graph of `count` objects, up to half of them stuff; rarely an empty one."""
    kind = tuple(SCENES)[int(rng.integers(len(SCENES)))]
    if rng.random() < 0.01:
        return SceneGraph((), landmark=_landmark(kind, rng) if rng.random() < 0.5 else None)
    stuff = [name for name in SCENES[kind].stuff if rng.random() < 0.9]
    if rng.random() < 0.08:
        stuff.append(_pick(STUFF, rng))
    stuff = list(dict.fromkeys(stuff))[: (count + 1) // 2 if rng.random() < 0.9 else 0]
    names = _things(kind, count - len(stuff), rng)
    marks = [_pick(_COLORS, rng) if rng.random() < 0.95 else "" for _ in names]
    twins = rng.uniform(0.0, 0.5)
    for n in range(1, len(names)):
        if rng.random() < twins:
            like = int(rng.integers(n))
            names[n] = names[like]
            marks[n] = marks[like] if rng.random() < 0.5 else marks[n]
    regions = [(name, _pick(_COLORS, rng) if rng.random() < 0.03 else "") for name in stuff]
    nodes = _placed([*zip(names, marks, strict=True), *regions], rng)
    things = [node for node in nodes if node.label not in STUFF]
    counted = by_label(things) if rng.random() < 0.97 else ()
    relations = _relations(nodes, rng)
    landmark = _landmark(kind, rng)
    return SceneGraph(nodes, relations=relations, landmark=landmark, counted=counted)


def _pick(words: Sequence[str], rng: Rng) -> str:
    return words[int(rng.integers(len(words)))]


def _things(kind: str, count: int, rng: Rng) -> list[str]:
    """Labels: of the kind of scene, sometimes of any, rarely a synonym or a hypernym."""
    here, anywhere = names_in(kind), rng.random() < 0.35
    labels = []
    for _ in range(count):
        draw = rng.random()
        odd = anywhere or draw < 0.08
        labels.append(_pick(_RARE if draw > 0.98 else _NAMES if odd else here, rng))
    return labels


def _ids(count: int, rng: Rng) -> list[int]:
    """Distinct ids in random order, mostly small, mostly without gaps."""
    top = count if rng.random() < 0.6 else min(MOST_IDS, count + 1 + int(rng.exponential(6.0)))
    return [int(number) for number in rng.permutation(top)[:count]]


def _placed(objects: Sequence[tuple[str, str]], rng: Rng) -> tuple[GraphNode, ...]:
    """Nodes in id order, in one to four layers; groups are numbered from near to far."""
    many = int(rng.choice((1, 2, 3, 4), p=(0.1, 0.1, 0.3, 0.5)))
    layers = sorted(rng.permutation(len(LAYERS))[:many])
    places = np.sort(rng.integers(len(layers), size=len(objects)))
    alone = rng.choice((0.3, 0.7, 0.9, 1.0))
    nodes: list[GraphNode] = []
    group, last = 0, -1
    order = [int(n) for n in rng.permutation(len(objects))]
    if rng.random() < 0.3:  # alike ones together
        order.sort(key=lambda n: objects[n])
    for number, thing, place in zip(_ids(len(objects), rng), order, places, strict=True):
        if nodes and (place != last or rng.random() < alone):
            group += 1 if rng.random() < 0.85 else 2
        last = place
        nodes.append(GraphNode(number, *objects[thing], LAYERS[layers[place]], group))
    return tuple(sorted(nodes, key=lambda node: node.object_id))


def _relations(nodes: Sequence[GraphNode], rng: Rng) -> tuple[Relation, ...]:
    """Places on stuff, then relations of things, each sorted by ids as geometry gives them."""
    places = [node.object_id for node in nodes if node.label in STUFF]
    things = [node.object_id for node in nodes if node.label not in STUFF]
    placed = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.0)
    related = 0.0 if rng.random() < 0.05 else rng.uniform(0.1, 3.5) / max(1, len(things) - 1)
    found: list[Relation] = []
    for subject in things:
        if places and rng.random() < placed:
            found.append(Relation(subject, _pick(("on", "in"), rng), _one(places, rng), "geometry"))
    for subject, other in combinations(things, 2):
        if rng.random() < related:
            ends = (subject, other) if rng.random() < 0.5 else (other, subject)
            found.append(Relation(ends[0], _pick(PREDICATES[:3], rng), ends[1], "geometry"))
    found.sort(key=lambda relation: (relation.object not in places, relation.subject))
    return tuple(_shared(nodes, found) if rng.random() < 0.3 else found)


def _shared(nodes: Sequence[GraphNode], relations: Sequence[Relation]) -> list[Relation]:
    """Relations that make alike neighbours one entry: all of them have those of the first."""
    kinds = {n.object_id: (n.label, n.attribute, n.layer, n.group) for n in nodes}
    first: dict[tuple[object, ...], int] = {}
    like = {number: first.setdefault(kind, number) for number, kind in kinds.items()}
    return [
        Relation(number, relation.predicate, relation.object, relation.source)
        for number in kinds
        for relation in relations
        if relation.subject == like[number] and like[relation.object] != like[number]
    ]


def _one(numbers: Sequence[int], rng: Rng) -> int:
    return numbers[int(rng.integers(len(numbers)))]


def _landmark(kind: str, rng: Rng) -> Landmark | None:
    draw = rng.random()
    if draw < 0.03:
        return None
    if draw < 0.06:
        return Landmark(*_OTHER_LANDMARKS[int(rng.integers(len(_OTHER_LANDMARKS)))], "")
    return Landmark(SCENES[kind].category, SCENES[kind].fine_category, "")
