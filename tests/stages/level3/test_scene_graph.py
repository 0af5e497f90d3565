from __future__ import annotations

from typing import Any

import pytest

from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
    Column,
)
from grand_pipeline.graph import EMPTY
from grand_pipeline.types import (
    AssignedLabel,
    Attribute,
    Caption,
    Instance,
    Landmark,
    PhraseLink,
    Placement,
    Relation,
)
from stages.level3.scene_graph import SceneGraphStage
from tests.records import record_of

VALUES: dict[Column[Any], Any] = {
    INSTANCES: (
        Instance(0, "object", "thing", (0, 0, 20, 20), 0.9, "car"),
        Instance(1, "object", "thing", (0, 0, 50, 50), 0.8, "hound_dog"),
        Instance(2, "object", "stuff", (0, 0, 100, 40), 0.7, "sky"),
        Instance(3, "floating", "thing", (0, 0, 90, 90), 0.9, "kite"),
    ),
    ASSIGNED: (AssignedLabel(1, "dog", 1.0),),
    ATTRIBUTES.of("color"): (Attribute(0, "color", "red"), Attribute(3, "color", "blue")),
    ATTRIBUTES.of("blip"): (Attribute(0, "blip", "a shiny [old]_car"),),
    PLACEMENTS: (
        Placement(0, 2.0, "Foreground", 0),
        Placement(1, 2.0, "Foreground", 0),
        Placement(2, 0.0, "Background", 1),
        Placement(3, 1.0, "Midground", 2),
    ),
    GROUNDED_CAPTIONS: (Caption("a", "a red car"), Caption("b", "a red car"), Caption("c", " ")),
    LINKS: (
        PhraseLink("A red car", (0,), "a"),
        PhraseLink("a red car", (0, 1), "b"),
        PhraseLink("a kite", (3,), "b"),
    ),
    RELATIONS: (
        Relation(0, "left of", 1, "geometry"),
        Relation(0, "left of", 1, "blip"),
        Relation(3, "in", 2, "geometry"),
    ),
    LANDMARK: Landmark("Outdoor scene", "Rural", "siglip"),
}
FULL = """Foreground:
- group 0: [0] car (red) left of [1] dog; [1] dog
Background:
- group 1: [2] sky
Counts:
- 1 car [0]
- 1 dog [1]
Captions:
- a red car
Phrases:
- a red car [0][1]
Landmark: Outdoor scene, Rural"""


def text(changes: dict[Column[Any], Any] | None = None, **options: Any) -> str:
    stage = SceneGraphStage(**({"attribute_sources": ("color",)} | options))
    (row,) = stage.annotate(None, [record_of(VALUES | (changes or {}))])
    assert set(row) == {SCENE_GRAPH}
    return str(row[SCENE_GRAPH])


def test_the_whole_text() -> None:
    assert text() == FULL


@pytest.mark.parametrize(
    ("block", "gone"),
    [
        ("captions", ("Captions:", "- a red car\n")),
        ("phrases", ("Phrases:", "[0][1]")),
        ("relations", ("left of",)),
        ("counts", ("Counts:", "- 1 car [0]")),
        ("landmark", ("Landmark:",)),
        ("stuff", ("Background:", "sky")),
    ],
)
def test_blocks_can_be_left_out(block: str, gone: tuple[str, ...]) -> None:
    short = text(**{block: False})
    assert len(short) < len(FULL)
    for words in gone:
        assert words in FULL
        assert words not in short


def test_attribute_sources_in_order_of_preference() -> None:
    assert "[0] car (red)" in text()
    assert "[0] car (a shiny old car)" in text(attribute_sources=("missing", "blip"))
    assert "[0] car (a shiny old car)" in text(attribute_sources=())


def test_floating_objects_only_without_voted_ones() -> None:
    ghost = {INSTANCES: VALUES[INSTANCES][3:]}
    assert "[3] kite (blue)" in text(ghost)
    assert "- a kite [3]" in text(ghost)
    assert "kite" not in text(ghost, floating=False)


def test_objects_below_the_least_score_are_left_out() -> None:
    assert "- group 0: [0] car (red) left of [1] dog; [1] dog" in text(min_score=0.8)
    assert "sky" not in text(min_score=0.8)
    born = Instance(6, "object", "thing", (0, 0, 9, 9), None, "kite")
    assert "[6] kite" in text({INSTANCES: (born,)}, min_score=0.9)


def test_nodes_with_attributes_come_first_then_the_largest() -> None:
    assert [line for line in text(max_nodes=2).splitlines() if "[" in line][:2] == [
        "- group 0: [0] car (red)",
        "- group 1: [2] sky",
    ]
    assert "[1]" not in text(max_nodes=2)


def test_limits_of_phrases_and_relations() -> None:
    short = text(max_phrases=0, max_relations=0)
    assert "Phrases:" not in short
    assert "left of" not in short


def test_places_come_before_other_relations() -> None:
    both = (Relation(0, "left of", 1, "geometry"), Relation(0, "in", 2, "geometry"))
    assert "[0] car (red) in [2] sky, left of [1] dog" in text({RELATIONS: both})
    assert "[0] car (red) in [2] sky; " in text({RELATIONS: both}, max_relations=1)


def test_things_are_counted_by_their_assigned_label_and_stuff_is_not() -> None:
    dogs = {ASSIGNED: (AssignedLabel(0, "dog", 1.0), AssignedLabel(1, "dog", 1.0))}
    assert "Counts:\n- 2 dog [0][1]\nCaptions:" in text(dogs)


def test_an_image_with_nothing_still_has_a_text() -> None:
    nothing: dict[Column[Any], Any] = {
        column: () for column in VALUES if column.name not in ("landmark",)
    }
    assert text(nothing) == "Landmark: Outdoor scene, Rural"
    assert text(nothing, landmark=False) == EMPTY


def test_an_object_without_placement_is_in_the_foreground() -> None:
    assert text({PLACEMENTS: ()}).startswith("Foreground:\n- group 0: [0] car (red)")
