from __future__ import annotations

from typing import Any

from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    PLACEMENTS,
    SCENE_GRAPH,
    Column,
)
from grand_pipeline.types import (
    AssignedLabel,
    Attribute,
    Caption,
    Instance,
    Landmark,
    PhraseLink,
    Placement,
)
from stages.level3.grand_v1_scene_graph import GrandV1SceneGraph
from tests.records import record_of

VALUES: dict[Column[Any], Any] = {
    INSTANCES: (
        Instance(0, "object", None, (0, 0, 20, 20), 0.9, "car"),
        Instance(1, "object", None, (0, 0, 50, 50), 0.8, "hound_dog"),
        Instance(2, "object", None, (0, 0, 50, 50), 0.8, "cat"),
        Instance(3, "floating", None, (0, 0, 90, 90), 0.9, "kite"),
    ),
    ASSIGNED: (AssignedLabel(0, "automobile", 1.0),),
    ATTRIBUTES.of("grit"): (Attribute(0, "grit", "a car"), Attribute(1, "grit", "a dog")),
    ATTRIBUTES.of("gpt4roi"): (Attribute(0, "gpt4roi", "Assistant: a fast car"),),
    PLACEMENTS: (Placement(0, 9.0, "Foreground", 0), Placement(1, 1.0, "Background", 1)),
    GROUNDED_CAPTIONS: (Caption("blip2", "a car and a dog "),),
    LINKS: (PhraseLink("A car", (0, 3), "blip2"),),
    LANDMARK: Landmark("Outdoor scene", "Urban", "llava"),
}


def text(**options: Any) -> str:
    (row,) = GrandV1SceneGraph(**options).annotate(None, [record_of(VALUES)])
    found: str = row[SCENE_GRAPH]
    return found


def test_grands_text_with_the_preferred_attribute_and_without_what_has_no_depth() -> None:
    assert text().split("\n") == [
        "Foreground:",
        "Group 0: automobile/a fast car",
        "Background:",
        "Group 1: hound dog/a dog",
        "",
        "Short Captions:",
        "a car and a dog",
        "",
        "Relationships:",
        "a car, Group Ids: (0)",
        "",
        "Landmarks:",
        "Outdoor scene, Urban",
    ]


def test_the_same_nodes_for_models_that_read_references() -> None:
    found = text(style="references")
    assert "[0] automobile (a fast car)" in found and "[1] hound dog (a dog)" in found
    assert "[2]" not in found and "[3]" not in found
    assert "- 1 automobile [0]" in found


def test_an_image_without_objects_has_a_text() -> None:
    empty = VALUES | {INSTANCES: (), LANDMARK: Landmark("", "", "llava"), LINKS: ()}
    (row,) = GrandV1SceneGraph().annotate(None, [record_of(empty)])
    assert "Short Captions:" in row[SCENE_GRAPH]


def test_d19_the_cap_lets_too_many_nodes_in() -> None:
    assert "hound" not in text(max_nodes=1)
    assert "hound" in text(max_nodes=1, defects=("D19",))
