from __future__ import annotations

from itertools import pairwise

import pytest

from grand_pipeline.graph import GraphNode, SceneGraph
from grand_pipeline.types import Landmark, PhraseLink, Relation
from stages.graph_text import droppable, shortened

GRAPH = SceneGraph(
    nodes=(
        GraphNode(0, "cat", "red", "Foreground", 0),
        GraphNode(1, "dog", "", "Foreground", 1),
        GraphNode(2, "dog", "", "Background", 2),
        GraphNode(3, "cat", "", "Background", 2),
    ),
    captions=("a red cat", "Counts: none"),
    phrases=(PhraseLink("a red cat", (0,), "blip"), PhraseLink("a dog", (1,), "blip")),
    relations=(Relation(0, "left of", 1, "geometry"),),
    landmark=Landmark("Outdoor scene", "Rural", "siglip"),
    counted=((0, 3), (1, 2)),
).text()
LINES = GRAPH.split("\n")


def test_lines_go_in_the_stated_order_and_headers_with_their_last_line() -> None:
    gone = [set(LINES) - set(shortened(GRAPH, n).split("\n")) for n in range(droppable(GRAPH) + 1)]
    steps = [sorted(after - before) for before, after in pairwise(gone)]
    assert steps == [
        ["- a dog [1]"],
        ["- a red cat [0]", "Phrases:"],
        ["- Counts: none"],
        ["- a red cat", "Captions:"],
        ["- 2 dog [1][2]"],
        ["- 2 cat [0][3]", "Counts:"],
        ["- group 2: [2] dog; [3] cat", "Background:"],
        ["- group 1: [1] dog"],
        ["- group 0: [0] cat (red) left of [1] dog", "Foreground:"],
    ]
    assert shortened(GRAPH, 99) == "Landmark: Outdoor scene, Rural"


@pytest.mark.parametrize("drop", range(10))
def test_what_stays_keeps_its_order_and_is_whole(drop: int) -> None:
    kept = shortened(GRAPH, drop).split("\n")
    places = [LINES.index(line) for line in kept]
    assert places == sorted(places)


def test_foreign_text_is_left_alone() -> None:
    text = "(nothing was found in this image)\n\n- a line under no header"
    assert droppable(text) == 0 and shortened(text, 5) == text
