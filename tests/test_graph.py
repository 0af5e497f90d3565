from __future__ import annotations

from grand_pipeline.graph import GraphNode, SceneGraph, by_label
from grand_pipeline.types import Landmark, Relation


def node(number: int, label: str, attribute: str = "", group: int = 0) -> GraphNode:
    layer = "Foreground" if group < 5 else "Background"
    return GraphNode(number, label, attribute, layer, group)


def relation(subject: int, predicate: str, object_: int) -> Relation:
    return Relation(subject, predicate, object_, "g")


NODES = (
    *(node(0, "cat", "white"), node(1, "ball", "red"), node(4, "ball", "red")),
    *(node(2, "ball", "red", 1), node(5, "sand", "", 7)),
)
RELATIONS = (
    *(relation(0, "on", 5), relation(1, "on", 5), relation(4, "on", 5)),
    *(relation(0, "left of", 1), relation(0, "above", 99), relation(98, "above", 0)),
)


def test_relations_stand_beside_their_subject_and_alike_neighbours_together() -> None:
    graph = SceneGraph(NODES, relations=RELATIONS, landmark=Landmark("Outdoor scene", "Rural", "s"))
    assert graph.text().split("\n") == [
        "Foreground:",
        "- group 0: [0] cat (white) on [5] sand, left of [1] ball; [1][4] ball (red) on [5] sand",
        "- group 1: [2] ball (red)",
        "Background:",
        "- group 7: [5] sand",
        "Landmark: Outdoor scene, Rural",
    ]


def test_only_equal_relations_in_equal_order_make_one_entry() -> None:
    pair = (node(0, "cat"), node(1, "cat"), node(5, "sand", group=7), node(6, "sea", group=8))
    facts = (relation(0, "on", 5), relation(0, "in", 6), relation(1, "in", 6), relation(1, "on", 5))
    apart = SceneGraph(pair, relations=facts).layers()["Foreground"][0]
    assert [entry.ids for entry in apart] == [(0,), (1,)]
    together = SceneGraph(pair, relations=(*facts[:2], facts[3], facts[2])).layers()["Foreground"]
    assert [entry.ids for entry in together[0]] == [(0, 1)]


def test_counts_name_every_object() -> None:
    things = [thing for thing in NODES if thing.label != "sand"]
    assert by_label(things) == ((0,), (1, 4, 2))
    assert by_label([]) == ()
    text = SceneGraph(NODES, counted=by_label(things)).text()
    assert text.endswith("\n- group 7: [5] sand\nCounts:\n- 1 cat [0]\n- 3 ball [1][4][2]")
