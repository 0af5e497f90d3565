"""Random scene graphs of the picture-book world, with the noise of a real pipeline.

Classes mostly fit one kind of scene; ids have gaps and no order; attributes, relations and the
landmark may be missing or wrong; now and then captions stand by that speak of other things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grand_pipeline.graph import GraphNode, SceneGraph
from grand_pipeline.picturebook.lexicon import article
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


def random_graph(rng: Rng, things: int) -> SceneGraph:
    """A graph of `things` countable objects and up to five stuff regions; rarely an empty one."""
    if rng.random() < 0.01:
        return SceneGraph(())
    kind = tuple(SCENES)[int(rng.integers(len(SCENES)))]
    stuff = [name for name in SCENES[kind].stuff if rng.random() < 0.85]
    if rng.random() < 0.08:
        stuff.append(_pick(STUFF, rng))
    labels = _things(kind, things, rng)
    marks = [_pick(_COLORS, rng) if rng.random() < 0.93 else "" for _ in labels]
    for n in range(1, len(labels)):  # twins: what makes counting worth while
        if rng.random() < 0.14:
            labels[n] = labels[n - 1]
            marks[n] = marks[n - 1] if rng.random() < 0.7 else marks[n]
    ids = _ids(len(labels) + len(stuff), rng)
    regions = [(name, _pick(_COLORS, rng) if rng.random() < 0.04 else "") for name in stuff]
    nodes = _placed([*zip(labels, marks, strict=True), *regions], ids, rng)
    landmark = _landmark(kind, rng)
    captions = _captions(rng) if rng.random() < 0.08 else ()
    relations = _relations(nodes, rng)
    return SceneGraph(nodes, captions, (), relations, landmark)


def cut(graph: SceneGraph, count: int) -> SceneGraph:
    """The graph with its first `count` nodes and the relations between these."""
    nodes = graph.nodes[:count]
    ids = {node.object_id for node in nodes}
    relations = tuple(r for r in graph.relations if r.subject in ids and r.object in ids)
    return replace(graph, nodes=nodes, relations=relations)


def _pick(words: Sequence[str], rng: Rng) -> str:
    return words[int(rng.integers(len(words)))]


def _things(kind: str, count: int, rng: Rng) -> list[str]:
    """Labels: of the kind of scene, sometimes of any, rarely a synonym or a hypernym."""
    here, anywhere = names_in(kind), rng.random() < 0.35
    labels = []
    for _ in range(count):
        draw = rng.random()
        odd = anywhere or draw < 0.08
        labels.append(_pick(_RARE if draw > 0.97 else _NAMES if odd else here, rng))
    return labels


def _ids(count: int, rng: Rng) -> list[int]:
    """Distinct ids in random order, mostly small, with gaps."""
    top = count if rng.random() < 0.4 else min(MOST_IDS, count + 1 + int(rng.exponential(8.0)))
    return [int(number) for number in rng.permutation(top)[:count]]


def _placed(
    objects: Sequence[tuple[str, str]], ids: Sequence[int], rng: Rng
) -> tuple[GraphNode, ...]:
    """Nodes in one to four layers of one or more groups, in id order or in any order."""
    layers = sorted(rng.permutation(len(LAYERS))[: 1 + int(rng.integers(len(LAYERS)))])
    where = rng.integers(len(layers), size=len(objects))
    if rng.random() < 0.5:  # twins stand together
        where = np.sort(where)
    group = rng.integers(4 if rng.random() < 0.6 else 12, size=len(objects))
    if rng.random() < 0.4:  # every object, or every layer, its own group
        group = np.arange(len(objects)) if rng.random() < 0.5 else where
    nodes = [
        GraphNode(number, label, mark, LAYERS[layers[place]], int(cluster))
        for number, (label, mark), place, cluster in zip(ids, objects, where, group, strict=True)
    ]
    return tuple(sorted(nodes, key=lambda n: n.object_id)) if rng.random() < 0.5 else tuple(nodes)


def _relations(nodes: Sequence[GraphNode], rng: Rng) -> tuple[Relation, ...]:
    """Places on stuff and relations of things, sorted by ids as geometry gives them."""
    if rng.random() < 0.12:
        return ()
    places = [node.object_id for node in nodes if node.label in STUFF]
    things = [node.object_id for node in nodes if node.label not in STUFF]
    keep, many = rng.uniform(0.4, 1.0), rng.uniform(0.2, 1.4)
    found: list[Relation] = []
    for subject in things:
        if places and rng.random() < keep:
            place = places[int(rng.integers(len(places)))]
            found.append(Relation(subject, _pick(("on", "in"), rng), place, "geometry"))
        others = [number for number in things if number != subject]
        for _ in range(int(rng.poisson(many)) if others else 0):
            other = others[int(rng.integers(len(others)))]
            found.append(Relation(subject, _pick(PREDICATES[:3], rng), other, "geometry"))
    once = {(r.subject, r.object): r for r in found}
    if rng.random() < 0.2:
        return tuple(once.values())
    return tuple(sorted(once.values(), key=lambda r: (r.subject, r.object)))


def _landmark(kind: str, rng: Rng) -> Landmark | None:
    draw = rng.random()
    if draw < 0.05:
        return None
    if draw < 0.09:
        return Landmark(*_OTHER_LANDMARKS[int(rng.integers(len(_OTHER_LANDMARKS)))], "")
    return Landmark(SCENES[kind].category, SCENES[kind].fine_category, "")


def _captions(rng: Rng) -> tuple[str, ...]:
    """Captions that may be wrong: nothing of them may be said."""
    texts = []
    for _ in range(1 + int(rng.integers(2))):
        color, name, stuff = _pick(_COLORS, rng), _pick(_NAMES, rng), _pick(STUFF, rng)
        texts.append(f"{article(color)} {color} {name} on the {stuff}")
    return tuple(texts)
