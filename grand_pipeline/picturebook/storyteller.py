"""What the tiny language model learns to say: answers written from a scene graph by rule.

The answers follow the order of the graph's text, so that every word of an answer can be found in
the prompt: the next objects, their colour, their ids, the relations they are the subject of.
"""

from __future__ import annotations

from collections.abc import Sequence

from grand_pipeline.graph import Entry, GraphNode, SceneGraph
from grand_pipeline.labels import plural
from grand_pipeline.picturebook.knowledge import PLACE_FACTS, THING_FACTS
from grand_pipeline.picturebook.lexicon import NUMBERS, article
from grand_pipeline.picturebook.vocabulary import SCENES, STUFF
from grand_pipeline.types import LAYERS

NOTHING = "Nothing is known about this picture."  # what is said of an empty graph
_WHERE = dict(
    zip(
        LAYERS,
        ("Close up", "In the foreground", "In the middle", "In the background"),
        strict=True,
    )
)
_PLACES = {(kind.category, kind.fine_category): kind.name for kind in SCENES.values()}


def dense_caption(graph: SceneGraph) -> str:
    """One sentence on the scene, one on what there are several of, one per layer.

    Every mention is `<p>a red car</p>[id]`. Only what the graph says is said, and all of it.
    """
    sentences: list[str] = []
    if graph.landmark is not None:
        category = graph.landmark.category.lower()
        sentences.append(f"The picture shows {article(category)} {category}.")
    labels = {node.object_id: node.label for node in graph.nodes}
    several = [ids for ids in graph.counted if len(ids) > 1]
    if several:
        counts = (_marked(_several(len(ids), labels[ids[0]]), ids) for ids in several)
        sentences.append(f"There are {' and '.join(counts)}.")
    for layer, groups in graph.layers().items():
        seen = (_seen(entry) for entries in groups.values() for entry in entries)
        sentences.append(f"{_WHERE[layer]} we see {'; '.join(seen)}.")
    return " ".join(sentences) or NOTHING


def context(graph: SceneGraph) -> str:
    """General knowledge: two sentences on the kind of place, then one on each counted class.

    Things that the world knows nothing about are passed over.
    """
    landmark = graph.landmark
    place = None if landmark is None else (landmark.category, landmark.fine_category)
    told = list(PLACE_FACTS[_PLACES[place]][:2]) if place in _PLACES else []
    labels = {node.object_id: node.label for node in graph.nodes}
    names = [labels[ids[0]] for ids in graph.counted]
    told += [THING_FACTS[name][0] for name in names if name in THING_FACTS]
    return " ".join(told) or NOTHING


def _seen(entry: Entry) -> str:
    """`<p>a red car</p>[0] on <p>the road</p>[4], left of <p>another car</p>[2]`."""
    node, many = entry.nodes[0], len(entry.nodes)
    name = _several(many, node.label, node.attribute) if many > 1 else _one(node)
    links = (
        f" {predicate} {_marked(_again(node, to), (to.object_id,))}"
        for predicate, to in entry.links
    )
    return f"{_marked(name, entry.ids)}{','.join(links)}"


def _several(many: int, label: str, attribute: str = "") -> str:
    words = (NUMBERS.get(many, str(many)), attribute, plural(label))
    return " ".join(word for word in words if word)


def _one(node: GraphNode) -> str:
    words = f"{node.attribute} {node.label}".strip()
    return f"{'the' if node.label in STUFF else article(words)} {words}"


def _again(subject: GraphNode, node: GraphNode) -> str:
    return f"{'another' if node.label == subject.label else 'the'} {node.label}"


def _marked(phrase: str, ids: Sequence[int]) -> str:
    return f"<p>{phrase}</p>{''.join(f'[{number}]' for number in ids)}"
