"""Nodes of the graph and its text."""

from __future__ import annotations

import pytest

from grand_pipeline.grand_v1 import graph
from grand_pipeline.graph import GraphNode
from grand_pipeline.types import Attribute, Instance, Landmark, PhraseLink


def things(count: int, status: str = "object") -> tuple[Instance, ...]:
    return tuple(Instance(i, status, None, (0, 0, 1, 1), 0.5, "dog") for i in range(count))


@pytest.mark.parametrize(("told", "others", "most", "published"), [
    (105, 60, 100, 160), (35, 60, 30, 90),
])  # fmt: skip
def test_d19_too_many_described_objects_let_others_in(
    told: int, others: int, most: int, published: int
) -> None:
    described = range(told)
    nodes = things(told + others)
    meant = graph.chosen(nodes, described, most)
    assert [i.id for i in meant] == list(range(most))
    assert len(graph.chosen(nodes, described, most, ("D19",))) == published


def test_described_objects_stay_first() -> None:
    assert [i.id for i in graph.chosen(things(4), (3,), 2)] == [3, 0]


def test_floating_objects_are_nodes_where_there_is_nothing_else() -> None:
    floating = things(2, "floating")
    assert graph.chosen(floating, (), 100) == list(floating)
    mixed = (*things(1), *floating)
    assert graph.chosen(mixed, (), 100) == [mixed[0]]


def test_speaker_prefixes_are_no_part_of_an_attribute() -> None:
    told = [Attribute(0, "a", "Assistant: a red car"), Attribute(0, "b", "late"),
            Attribute(1, "a", "istant: ")]  # fmt: skip
    assert graph.described(told) == {0: "a red car"}


def test_the_text_has_four_blocks_and_no_underscore() -> None:
    nodes = (
        GraphNode(0, "tennis_racket", "a racket in a hand", "Immediate Foreground", 0),
        GraphNode(1, "person", "", "Immediate Foreground", 0),
        GraphNode(2, "tree", "", "Background", 1),
    )
    links = (PhraseLink("A man", (1, 7), "blip2"), PhraseLink("a man", (2,), "llava"))
    text = graph.dense_text(nodes, ["a man plays"], links, Landmark("Outdoor scene", "Urban", "l"))
    assert text == (
        "Immediate Foreground:\n"
        "Group 0: tennis racket/a racket in a hand, person\n"
        "Background:\n"
        "Group 1: tree\n"
        "\n"
        "Short Captions:\n"
        "a man plays\n"
        "\n"
        "Relationships:\n"
        "a man, Group Ids: (0, 1)\n"
        "\n"
        "Landmarks:\n"
        "Outdoor scene, Urban"
    )
