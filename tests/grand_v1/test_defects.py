"""The table of faults in docs/grand_v1.md says what the stages and the tests say."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from grand_pipeline import catalog, settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "grand_v1.md").read_text("utf-8")
ROWS = {
    number: (fault, here)
    for number, fault, here in re.findall(r"^\| (D\w+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
}
STAGES = [name for name in catalog.STAGES if name.startswith("grand_v1_")]
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def test_(d\w+?)_", path.read_text("utf-8"), re.MULTILINE)
}


def switches() -> dict[str, set[str]]:
    """Number -> stages that can repeat the fault."""
    found: dict[str, set[str]] = {}
    for name in STAGES:
        hint = typing.get_type_hints(catalog.stage_class(name)).get("defects")
        numbers = typing.get_args(typing.get_args(hint)[0]) if hint else ()
        for number in numbers:
            found.setdefault(number, set()).add(name)
    return found


def test_every_number_has_its_row() -> None:
    expected = [f"D{n}" for n in range(1, 34)]
    at = expected.index("D13") + 1
    assert list(ROWS) == [*expected[:at], "D13b", "D13c", "D13d", "D13e", *expected[at:]]


def test_switches_are_where_the_table_says() -> None:
    told = {
        number: set(re.findall(r"`(grand_v1_\w+)`", here))
        for number, (_, here) in ROWS.items()
        if here.startswith("switch of ")
    }
    assert told == switches()


def test_what_is_no_switch_has_its_reason() -> None:
    others = {number: here for number, (_, here) in ROWS.items() if number not in switches()}
    assert [n for n, here in others.items() if not re.match(r"none: .{10}", here)] == []


@pytest.mark.parametrize("number", [*switches(), "D12"])
def test_every_switch_has_a_test_named_after_it(number: str) -> None:
    assert number.lower() in TESTS


def test_every_stage_of_the_rules_is_explained() -> None:
    assert set(re.findall(r"^\| [\w ]+ \| `(grand_v1_\w+)` \|", PAGE, re.MULTILINE)) == set(STAGES)


def test_both_presets_have_the_same_models() -> None:
    ours = settings.load_preset("picturebook").tables
    theirs = settings.load_preset("picturebook_grand_v1").tables
    unlike = {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]}
    assert unlike == set(), "copy these tables from picturebook.toml to picturebook_grand_v1.toml"
    assert {key.removeprefix("grand_v1_") for key in theirs} == set(ours)
    for key in theirs.keys() - ours.keys():
        model = theirs[key].get("model")
        assert model == ours[key.removeprefix("grand_v1_")].get("model") or "dense" in key
