from __future__ import annotations

import numpy as np
import pytest

from grand_pipeline.graph import GraphNode, SceneGraph
from grand_pipeline.picturebook.knowledge import PLACE_FACTS, THING_FACTS
from grand_pipeline.picturebook.storyteller import NOTHING, context, dense_caption
from grand_pipeline.references import parse
from grand_pipeline.types import Landmark, Relation
from training.recipes.picturebook.graphs import random_graph
from training.recipes.picturebook.llm_scores import labels, links, mentions, named, said


def node(number: int, label: str, attribute: str = "", layer: str = "Foreground") -> GraphNode:
    return GraphNode(number, label, attribute, layer, 0)


def test_a_small_graph_word_for_word() -> None:
    graph = SceneGraph(
        nodes=(
            *(node(4, "ball", "red"), node(1, "ball", "red"), node(0, "umbrella")),
            *(node(7, "sky", layer="Background"), node(3, "bird", "orange", "Background")),
        ),
        relations=(Relation(3, "in", 7, "g"), Relation(3, "above", 0, "g")),
        landmark=Landmark("Outdoor scene", "Rural", "s"),
    )
    text = dense_caption(graph, np.random.default_rng(1))
    assert text.partition(". ")[2] == (
        "In the foreground we see <p>two red balls</p>[4][1] and <p>an umbrella</p>[0]. "
        "In the background we see <p>the sky</p>[7] and "
        "<p>an orange bird</p>[3] in <p>the sky</p>[7]."
    )


@pytest.mark.parametrize("seed", range(40))
def test_everything_said_is_in_the_graph_and_everything_in_the_graph_is_said(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, seed % 9)
    text = dense_caption(graph, rng)
    assert named(text) <= labels(graph)
    assert all(mentions(text, graph)) and all(links(text, graph))
    assert said(text) == {n.object_id for n in graph.nodes}
    assert parse(text).clean


def test_scores_see_what_is_wrong() -> None:
    graph = SceneGraph((node(0, "cat", "red"), node(1, "dog")), relations=())
    assert mentions("<p>a blue cat</p>[0] and <p>a cat</p>[0]", graph) == [False, True]
    assert mentions("<p>a dog</p>[0], <p>a dog</p>[9]", graph) == [False, False]
    assert links("<p>a cat</p>[0] left of <p>the dog</p>[1]", graph) == [False]
    assert named("two cats, a lighthouse and the sky") == {"cat", "lighthouse", "sky"}


def test_context_tells_facts_of_the_place_and_of_each_class_once() -> None:
    place = Landmark("Indoor scene", "Living space", "s")
    names = ["cat", "lamp", "cat", "clock", "table", "chair", "ball"]
    text = context(SceneGraph(tuple(node(i, n) for i, n in enumerate(names)), landmark=place))
    wanted = [PLACE_FACTS["living room"][0], *(THING_FACTS[n][0] for n in dict.fromkeys(names))]
    assert text == " ".join(wanted[:6])
    few = context(SceneGraph((node(0, "cat"),), landmark=place))
    assert few.count(".") == 5 and all(fact in few for fact in THING_FACTS["cat"])


def test_nothing_is_said_about_an_empty_graph() -> None:
    empty = SceneGraph(())
    assert context(empty) == dense_caption(empty, np.random.default_rng(0)) == NOTHING
