from __future__ import annotations

from itertools import pairwise

import pytest

from grand_pipeline.graph import GraphNode, SceneGraph
from grand_pipeline.types import Landmark, PhraseLink, Relation
from stages.graph_text import droppable, shortened, without

GRAPH = SceneGraph(
    nodes=(
        GraphNode(0, "cat", "red", "Foreground", 0),
        GraphNode(1, "dog", "", "Foreground", 1),
        GraphNode(2, "tree", "", "Background", 2),
    ),
    captions=("a red cat", "Relations: none"),
    phrases=(PhraseLink("a red cat", (0,), "blip"), PhraseLink("a dog", (1,), "blip")),
    relations=(Relation(0, "left of", 1, "geometry"), Relation(1, "on", 2, "geometry")),
    landmark=Landmark("Outdoor scene", "Rural", "siglip"),
).text()
LINES = GRAPH.split("\n")


def test_lines_go_in_the_stated_order_and_headers_with_their_last_line() -> None:
    gone = [set(LINES) - set(shortened(GRAPH, n).split("\n")) for n in range(droppable(GRAPH) + 1)]
    steps = [sorted(after - before) for before, after in pairwise(gone)]
    assert steps == [
        ["- a dog [1]"],
        ["- a red cat [0]", "Phrases:"],
        ["- Relations: none"],
        ["- a red cat", "Captions:"],
        ["- [1] on [2]"],
        ["- [0] left of [1]", "Relations:"],
        ["- group 2: [2] tree", "Background:"],
        ["- group 1: [1] dog"],
        ["- group 0: [0] cat (red)", "Foreground:"],
    ]
    assert shortened(GRAPH, 99) == "Landmark: Outdoor scene, Rural"


@pytest.mark.parametrize("drop", range(10))
def test_what_stays_keeps_its_order_and_is_whole(drop: int) -> None:
    kept = shortened(GRAPH, drop).split("\n")
    places = [LINES.index(line) for line in kept]
    assert places == sorted(places)


def test_whole_blocks_can_be_left_out() -> None:
    kept = without(GRAPH, ("captions", "relations")).split("\n")
    gone = [line for line in LINES if line not in kept]
    assert gone == [
        *("Captions:", "- a red cat", "- Relations: none"),
        *("Relations:", "- [0] left of [1]", "- [1] on [2]"),
    ]
    assert without(GRAPH, ()) == GRAPH


def test_foreign_text_is_left_alone() -> None:
    text = "(nothing was found in this image)\n\n- a line under no header"
    assert droppable(text) == 0 and shortened(text, 5) == text
