from __future__ import annotations

import numpy as np
import pytest

from grand_pipeline.graph import GraphNode, SceneGraph
from grand_pipeline.picturebook.knowledge import PLACE_FACTS, THING_FACTS
from grand_pipeline.picturebook.storyteller import NOTHING, context, dense_caption
from grand_pipeline.references import parse
from grand_pipeline.types import Landmark, Relation
from training.recipes.picturebook.graphs import random_graph
from training.recipes.picturebook.llm_scores import held, labels, links, mentions, named, said


def node(number: int, label: str, attribute: str = "", layer: str = "Foreground") -> GraphNode:
    return GraphNode(number, label, attribute, layer, 0)


def test_a_small_graph_word_for_word() -> None:
    graph = SceneGraph(
        nodes=(
            *(node(4, "ball", "red"), node(1, "ball", "red"), node(0, "umbrella")),
            *(node(7, "sky", layer="Background"), node(3, "bird", "orange", "Background")),
            node(2, "bird", "", "Background"),
        ),
        relations=(
            *(Relation(3, "in", 7, "g"), Relation(3, "above", 0, "g")),
            *(Relation(3, "left of", 2, "g"), Relation(4, "left of", 9, "g")),
        ),
        landmark=Landmark("Outdoor scene", "Rural", "s"),
        counted=((4, 1), (0,), (3, 2)),
    )
    assert dense_caption(graph) == (
        "The picture shows an outdoor scene. "
        "There are <p>two balls</p>[4][1] and <p>two birds</p>[3][2]. "
        "In the foreground we see <p>two red balls</p>[4][1]; <p>an umbrella</p>[0]. "
        "In the background we see <p>the sky</p>[7]; <p>an orange bird</p>[3] in "
        "<p>the sky</p>[7], above <p>the umbrella</p>[0], left of <p>another bird</p>[2]; "
        "<p>a bird</p>[2]."
    )


@pytest.mark.parametrize("seed", range(40))
def test_everything_said_is_in_the_graph_and_everything_in_the_graph_is_said(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, seed % 14)
    text = dense_caption(graph)
    assert named(text) <= labels(graph)
    assert all(mentions(text, graph)) and links(text) == held(graph)
    assert said(text) == {n.object_id for n in graph.nodes}
    assert parse(text).clean


def test_scores_see_what_is_wrong() -> None:
    graph = SceneGraph((node(0, "cat", "red"), node(1, "dog")), relations=())
    assert mentions("<p>a blue cat</p>[0] and <p>a cat</p>[0]", graph) == [False, True]
    assert mentions("<p>a dog</p>[0], <p>a dog</p>[9]", graph) == [False, False]
    assert mentions("<p>two dogs</p>[1], <p>three dogs</p>[1][1]", graph) == [False, False]
    text = "We see <p>two cats</p>[0][2] on <p>the dog</p>[1], in front of <p>another cat</p>[3]."
    assert links(text) == {
        *((0, "on", 1), (2, "on", 1), (0, "in front of", 3), (2, "in front of", 3)),
    }
    assert named("two cats, a lighthouse and the sky") == {"cat", "lighthouse", "sky"}


def test_context_tells_facts_of_the_place_and_of_each_counted_class_once() -> None:
    place = Landmark("Indoor scene", "Living space", "s")
    nodes = tuple(node(i, name) for i, name in enumerate(["cat", "lamp", "cat", "thing", "clock"]))
    told = [*PLACE_FACTS["living room"][:2], *(THING_FACTS[name][0] for name in ("cat", "lamp"))]
    graph = SceneGraph(nodes, landmark=place, counted=((0, 2), (3,), (1,)))
    assert context(graph) == " ".join(told)


def test_nothing_is_said_about_an_empty_graph() -> None:
    empty = SceneGraph(())
    assert context(empty) == dense_caption(empty) == NOTHING
