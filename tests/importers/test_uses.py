"""Affordances and floating texts of GranD annotations: believed where they hold."""

from __future__ import annotations

from typing import Any

import pytest

from grand_pipeline.importers.notes import Notes
from grand_pipeline.importers.uses import affordances_of, regions_of
from grand_pipeline.types import Affordance, RegionText

LABELS = {3: frozenset({"dog", "animal"}), 5: frozenset({"cup"}), 9: frozenset({"tennis racket"})}
STALE = "affordances with stale ids, found again by their labels"
GONE = "affordances without an object, left out"


def use(ids: Any, *labels: Any, description: Any = "") -> dict[str, Any]:
    return {"description": description, "object_ids": ids, "labels": list(labels)}


def read(told: Any) -> tuple[tuple[Affordance, ...], dict[str, int]]:
    notes = Notes()
    return affordances_of(told, LABELS, notes), dict(notes.counts)


def test_ids_of_objects_with_such_a_label_are_kept() -> None:
    told = {"Pet": use([3, 3], "Dogs", description="It lives here."), "Play": use([9, 5], "cup")}
    found, counts = read(told)
    assert found[0] == Affordance("Pet", "It lives here.", (3,), ("Dogs",))
    assert found[1].object_ids == (5,), "the racket is no cup"
    assert counts == {STALE: 1}


def test_d3_stale_ids_are_found_again_by_their_labels() -> None:
    found, counts = read({"Hit": use([3, 77], "tennis_racket"), "Sit": use([4], "bench")})
    assert found == (Affordance("Hit", None, (9,), ("tennis_racket",)),)
    assert counts == {STALE: 1, GONE: 1}


@pytest.mark.parametrize("told", [None, [], "x", {}, {"a": None}, {"": use([3], "dog")}])
def test_what_is_no_table_gives_nothing(told: Any) -> None:
    assert read(told)[0] == ()


def test_odd_values_do_not_stop_it() -> None:
    found, _ = read({"a": use([True, "3", 3.0], "dog", None, 5), "b": use("3", "cup", "cup")})
    assert found == (Affordance("a", None, (3,), ("dog",)),), "only whole numbers are ids"


def test_floating_texts_keep_box_and_score() -> None:
    notes = Notes()
    entries = [
        {"bbox": [0, 0, 5, 5], "labels": [], "score": 0.5, "attributes": ["fur", "Assistant: a"]},
        {"bbox": [0, 0, 5, 5], "attributes": "sky"},
        {"bbox": [1, 2], "attributes": ["lost"]},
        7,
    ]
    assert regions_of(entries, (10, 10), notes) == (
        RegionText((0, 0, 5, 5), "fur", 0.5),
        RegionText((0, 0, 5, 5), "a", 0.5),
        RegionText((0, 0, 5, 5), "sky", None),
    )
    assert regions_of("x", None, notes) == ()
