from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.columns import AFFORDANCES, ASSIGNED, INSTANCES
from grand_pipeline.errors import SettingsError
from grand_pipeline.types import Affordance, AssignedLabel, Box, Instance, Status, Vote
from stages.level1.affordances import Affordances
from tests.records import record_of

HERE: Box = (10, 10, 40, 40)


def thing(number: int, *labels: str, floating: bool = False) -> Instance:
    votes = tuple(Vote(f"m{n}", label, 0.5) for n, label in enumerate(labels))
    status: Status = "floating" if floating else "object"
    return Instance(number, status, None, HERE, 0.5, labels[0] if labels else "", votes)


def told(stage: Affordances, *instances: Instance) -> dict[str, Affordance]:
    found = stage.offered(stage.load("cpu"), instances)
    return {one.category: one for one in found}


def test_spelling_does_not_matter_and_ids_are_those_of_the_objects() -> None:
    found = told(
        Affordances(),
        *(thing(4, "tennis_racket"), thing(9, "Baseball_Bats"), thing(2, "car_(automobile)")),
        *(thing(3, "sofas", floating=True), thing(5, "spaceship")),
    )
    assert found["play ball games with"].object_ids == (4, 9)
    assert found["play ball games with"].labels == ("tennis racket", "baseball bat")
    assert found["travel by road in"].object_ids == (2,)
    assert found["sit on"].object_ids == (3,)
    assert all(5 not in one.object_ids for one in found.values())
    assert all(one.description for one in found.values())


def test_a_label_that_is_not_there_counts_as_what_it_is_a_kind_of() -> None:
    beach = thing(1, "beach umbrella")
    assert "keep rain or sun off with" in told(Affordances(), beach)
    assert told(Affordances(kinds=False), beach) == {}
    bear = told(Affordances(), thing(1, "teddy bear"))
    assert "play with" in bear and "watch in nature" not in bear


def test_the_chosen_label_decides_or_every_vote() -> None:
    one = thing(1, "cup", "vase")
    label = (AssignedLabel(1, "vase", 1.0),)
    chosen, every = Affordances(), Affordances(words="votes")
    assert "drink from" not in {
        a.category for a in chosen.offered(chosen.load("cpu"), (one,), label)
    }
    assert {"drink from", "decorate with"} <= told(every, one).keys()
    assert ASSIGNED in chosen.reads and ASSIGNED not in every.reads
    (row,) = chosen.annotate(chosen.load("cpu"), [record_of({INSTANCES: (one,), ASSIGNED: label})])
    assert {a.category for a in row[AFFORDANCES]} == {"hold liquid", "decorate with"}


def test_the_table_is_an_option_and_its_content_is_part_of_what_decides(tmp_path: Path) -> None:
    path = tmp_path / "uses.toml"
    path.write_text("[shine]\nlabels = ['sun']\n", "utf-8")
    own = Affordances(table=str(path))
    assert told(own, thing(1, "Suns")) == {"shine": Affordance("shine", None, (1,), ("sun",))}
    assert own.options()["content"] != Affordances().options()["content"]
    assert dataclasses.replace(own, table="").options() == Affordances().options()
    with pytest.raises(SettingsError, match="cannot read the table"):
        Affordances(table=str(tmp_path / "absent.toml"))


WORDS = st.sampled_from(
    [
        "dog",
        "Cups",
        "car_(automobile)",
        "",
        " ",
        "\u200b",
        "\u05db\u05dc\u05d1",
        "\U0001f436",
        "x y",
    ]
)


@given(st.lists(st.tuples(st.lists(WORDS, max_size=3), st.booleans()), max_size=6))
def test_every_reference_resolves_once(words: list[tuple[list[str], bool]]) -> None:
    instances = tuple(
        thing(7 * n, *labels, floating=loose) for n, (labels, loose) in enumerate(words)
    )
    known = {instance.id for instance in instances}
    for use in told(Affordances(words="votes"), *instances).values():
        assert use.object_ids and known.issuperset(use.object_ids) and use.labels
        assert len(set(use.object_ids)) == len(use.object_ids)
        assert len(set(use.labels)) == len(use.labels)
