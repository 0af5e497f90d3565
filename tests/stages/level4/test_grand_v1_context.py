from __future__ import annotations

from typing import Any

from grand_pipeline.columns import ASSIGNED, ATTRIBUTES, CONTEXT, INSTANCES, LANDMARK
from grand_pipeline.types import AssignedLabel, Attribute, Instance, Landmark
from stages.level4.grand_v1_context import GrandV1Context
from tests.records import record_of
from tests.tiny.chats import Parrot

RECORD = record_of(
    {
        INSTANCES: tuple(
            Instance(n, "object", None, (0, 0, 9, 9), 0.5, label)
            for n, label in enumerate(("car", "hound_dog", "cat"))
        ),
        ASSIGNED: (AssignedLabel(0, "automobile", 1.0),),
        ATTRIBUTES.of("grit"): (
            Attribute(0, "grit", "a car"),
            Attribute(2, "grit", "a cat"),
        ),
        ATTRIBUTES.of("gpt4roi"): (Attribute(0, "gpt4roi", "Assistant: a fast car"),),
        LANDMARK: Landmark("Outdoor scene", "Urban", "llava"),
    }
)


def text(**options: Any) -> str:
    return GrandV1Context(**options).text(RECORD)


def test_the_list_names_objects_and_the_landmark() -> None:
    assert text().split("\n") == [
        "Objects:",
        "automobile/a fast car",
        "hound dog",
        "cat/a cat",
        "",
        "Landmarks:",
        "Outdoor scene, Urban",
    ]


def test_objects_with_an_attribute_stay() -> None:
    assert text(max_nodes=2).split("\n")[1:3] == ["automobile/a fast car", "cat/a cat"]


def test_d19_a_short_list_grows() -> None:
    crowd = record_of(
        {
            INSTANCES: tuple(
                Instance(n, "object", None, (0, 0, 9, 9), 0.5, f"thing{n}") for n in range(95)
            ),
            ASSIGNED: (),
            ATTRIBUTES.of("grit"): tuple(Attribute(n, "grit", "a thing") for n in range(35)),
            LANDMARK: Landmark("Outdoor scene", "Urban", "llava"),
        }
    )
    assert GrandV1Context().text(crowd).count("thing") == 60
    assert GrandV1Context(defects=("D19",)).text(crowd).count("/a thing") == 35
    assert GrandV1Context(defects=("D19",)).text(crowd).count("\nthing") == 90


def test_the_model_is_asked_about_the_list() -> None:
    stage = GrandV1Context(model="parrot", prompt="context/picturebook")
    (row,) = stage.annotate(Parrot(), [RECORD])
    assert "automobile/a fast car" in row[CONTEXT].prompt
    assert set(row) == set(stage.writes)
