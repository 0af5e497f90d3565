"""The definition of spatial relations, on hand-made layouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grand_pipeline.relations import RelationTriple, spatial_relations

SIZE = (256, 256)
SKY = (0, 0, 256, 100)
GRASS = (0, 100, 256, 256)


def relations(
    things: Sequence[tuple[tuple[float, float, float, float], float]],
    stuff: Sequence[tuple[str, tuple[int, int, int, int]]] = (("sky", SKY), ("grass", GRASS)),
) -> list[tuple[int, str, int]]:
    """Triples of a layout of (box, depth) things and named stuff, as plain tuples."""
    boxes = [box for box, _ in things] + [box for _, box in stuff]
    depths = [depth for _, depth in things] + [0.1] * len(stuff)
    kinds = ["thing"] * len(things) + ["stuff"] * len(stuff)
    labels = ["cat"] * len(things) + [name for name, _ in stuff]
    found = spatial_relations(np.array(boxes, float), np.array(depths), kinds, labels, SIZE)
    return [(t.subject, t.predicate, t.object) for t in found]


def test_side_by_side_is_left_of_and_not_listed_twice() -> None:
    found = relations([((100, 150, 150, 200), 0.5), ((40, 152, 90, 202), 0.52)])
    assert found == [(0, "on", 3), (1, "left of", 0), (1, "on", 3)]


def test_far_apart_things_are_not_related() -> None:
    found = relations([((0, 150, 40, 200), 0.5), ((200, 150, 250, 200), 0.5)])
    assert [predicate for _, predicate, _ in found] == ["on", "on"]


def test_the_nearer_of_two_overlapping_things_is_in_front() -> None:
    behind, near = ((50, 110, 110, 170), 0.4), ((60, 140, 120, 220), 0.8)
    assert (1, "in front of", 0) in relations([behind, near])
    assert (0, "in front of", 1) in relations([near, behind])


def test_equal_depth_gives_no_order() -> None:
    found = relations([((50, 110, 110, 170), 0.50), ((60, 140, 120, 220), 0.52)])
    assert [p for _, p, _ in found] == ["on", "on"]


def test_a_thing_in_the_air_is_above_what_stands_below() -> None:
    found = relations([((60, 20, 110, 80), 0.9), ((50, 90, 110, 170), 0.5)])
    assert found == [(0, "above", 1), (0, "in", 2), (1, "on", 3)]


def test_indoors_things_hang_on_the_wall() -> None:
    found = relations([((60, 20, 110, 80), 0.3)], (("wall", SKY), ("floor", GRASS)))
    assert found == [(0, "on", 1)]


def test_water_is_entered_and_the_front_region_wins() -> None:
    stuff = (("sky", SKY), ("water", (0, 95, 256, 182)), ("sand", (0, 176, 256, 256)))
    found = relations([((10, 100, 60, 150), 0.3), ((100, 140, 150, 180), 0.5)], stuff)
    assert (0, "in", 3) in found
    assert (1, "on", 4) in found


def test_unknown_kind_counts_as_a_thing_and_nothing_gives_nothing() -> None:
    boxes = np.array([[0, 0, 50, 50], [60, 0, 110, 50]], np.float32)
    found = spatial_relations(boxes, np.array([0.5, 0.5]), [None, None], ["a", "b"], SIZE)
    assert found == (RelationTriple(0, "left of", 1),)
    assert spatial_relations(np.zeros((0, 4)), np.zeros(0), [], [], SIZE) == ()


def test_other_objects_do_not_change_a_pair() -> None:
    pair = [((100, 150, 150, 200), 0.5), ((40, 152, 90, 202), 0.52)]
    crowd = [*pair, ((90, 120, 140, 180), 0.3)]
    assert set(relations(pair, ())) <= set(relations(crowd, ()))


def test_inputs_are_left_as_they_are() -> None:
    boxes = np.array([[0.0, 0.0, 50.0, 300.0]])
    spatial_relations(boxes, np.array([0.5]), ["thing"], ["a"], SIZE)
    assert boxes[0, 3] == 300.0
