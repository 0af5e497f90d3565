from __future__ import annotations

import pytest

from grand_pipeline.columns import (
    ASSIGNED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    MASKS,
    PLACEMENTS,
    RELATIONS,
)
from grand_pipeline.types import (
    AssignedLabel,
    Caption,
    Instance,
    ObjectMask,
    Placement,
    Relation,
    Rle,
    Span,
)
from stages.level2.relations import Relations, relations_told
from tests.records import record_of

DOG = Instance(4, "object", "thing", (10, 60, 30, 80), 0.9, "dog")
CAT = Instance(7, "object", "thing", (35, 60, 55, 80), 0.9, "cat")
GHOST = Instance(8, "floating", "thing", (58, 60, 78, 80), 0.9, "cow")
LAWN = Instance(9, "object", "stuff", (0, 50, 100, 100), 0.9, "Lawns")
PLACES = tuple(Placement(i, 0.5, "Foreground", 0) for i in (4, 7, 8, 9))
LABELS = (AssignedLabel(9, "grass", 1.0),)


def test_relations_are_in_object_ids_and_use_assigned_labels() -> None:
    found = Relations().spatial((DOG, CAT, GHOST, LAWN), LABELS, PLACES, (100, 100))
    assert set(found) == {
        Relation(4, "left of", 7, "geometry"),
        Relation(4, "on", 9, "geometry"),
        Relation(7, "on", 9, "geometry"),
    }


def test_boxes_are_those_that_are_published() -> None:
    values = {INSTANCES: (DOG, CAT), ASSIGNED: (), PLACEMENTS: PLACES[:2]}
    swapped = (  # what is left by its own box is right by its mask's
        ObjectMask(4, Rle((100, 100), "0"), "box", 1.0, (60, 60, 80, 80)),
        ObjectMask(7, Rle((100, 100), "0"), "box", 1.0),
    )
    (row,) = Relations().annotate(None, [record_of({**values, MASKS: swapped})])
    assert row[RELATIONS] == (Relation(7, "left of", 4, "geometry"),)


def test_floating_objects_take_part_when_asked() -> None:
    stage = Relations(floating=True)
    found = stage.spatial((DOG, CAT, GHOST), (), PLACES, (100, 100))
    assert Relation(7, "left of", 8, "geometry") in found


def test_objects_without_depth_take_no_part() -> None:
    assert Relations().spatial((DOG, CAT), (), PLACES[:1], (100, 100)) == ()
    assert Relations().spatial((), (), (), (100, 100)) == ()


def test_depth_scale_does_not_matter_when_normalised() -> None:
    above = Instance(1, "object", "thing", (10, 40, 30, 70), 0.9, "dog")
    below = Instance(2, "object", "thing", (10, 60, 30, 90), 0.9, "cat")
    for scale in (0.01, 1000.0):
        places = (Placement(1, scale, "Foreground", 0), Placement(2, 2 * scale, "Foreground", 0))
        found = Relations().spatial((above, below), (), places, (100, 100))
        assert found == (Relation(2, "in front of", 1, "geometry"),)
    raw = Relations(normalize_depth=False)
    places = (Placement(1, 0.01, "Foreground", 0), Placement(2, 0.02, "Foreground", 0))
    assert raw.spatial((above, below), (), places, (100, 100)) == ()


def caption(text: str, *phrases: tuple[str, tuple[int, ...]]) -> Caption:
    spans = tuple(
        Span(text.index(said), text.index(said) + len(said), ids) for said, ids in phrases
    )
    return Caption("blip", text, spans)


@pytest.mark.parametrize(
    ("text", "ids", "predicate"),
    [
        ("a dog sitting on a mat", (2,), "sitting on"),
        ("a dog Next To a mat", (2,), "next to"),
        ("a dog and a mat", (2,), None),
        ("a dog, on a mat", (2,), None),
        ("a dog that was lying there on a mat", (2,), None),
        ("a dog on a mat", (1,), None),
        ("a dog on a mat", (2, 3), None),
        ("a dog a mat", (2,), None),
    ],
)
def test_relations_told(text: str, ids: tuple[int, ...], predicate: str | None) -> None:
    found = list(relations_told(caption(text, ("a dog", (1,)), ("a mat", ids))))
    assert found == ([] if predicate is None else [Relation(1, predicate, 2, "blip")])


def test_captions_are_read_only_when_asked() -> None:
    said = caption("a dog chasing a cat", ("a dog", (4,)), ("a cat", (7,)))
    values = {
        INSTANCES: (DOG, CAT),
        MASKS: (),
        ASSIGNED: (),
        PLACEMENTS: PLACES[:2],
        GROUNDED_CAPTIONS: (said, said),
    }
    plain, reading = Relations(), Relations(captions=True)
    assert GROUNDED_CAPTIONS not in plain.reads
    assert GROUNDED_CAPTIONS in reading.reads
    spatial = Relation(4, "left of", 7, "geometry")
    assert plain.annotate(None, [record_of(values)]) == [{RELATIONS: (spatial,)}]
    told = Relation(4, "chasing", 7, "blip")
    assert reading.annotate(None, [record_of(values)]) == [{RELATIONS: (spatial, told)}]
