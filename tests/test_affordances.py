"""The table of uses: its form, its content, and what comes out of a look-up."""

from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline import affordances
from grand_pipeline.affordances import Table, Use
from grand_pipeline.errors import SettingsError
from grand_pipeline.labels import normalize
from grand_pipeline.picturebook import vocabulary
from grand_pipeline.types import Affordance

USES = (
    Use("sit on", "To sit.", ("chair", "benches")),
    Use("burn", None, ("chair", "log")),
    Use("eat", "To eat.", ("apple",)),
)


def test_objects_are_gathered_by_use_in_the_order_of_the_table() -> None:
    table = Table.of(USES, normalize)
    told = [(7, "log", "log"), (3, "Bench", "bench"), (5, "chair", "chair"), (3, "chair", "chair")]
    assert table.gathered([*told, (9, "sky", "sky")]) == (
        Affordance("sit on", "To sit.", (3, 5), ("Bench", "chair")),
        Affordance("burn", None, (7, 5, 3), ("log", "chair")),
    )
    assert table.gathered([]) == ()


def test_the_table_that_ships_is_whole() -> None:
    uses = affordances.load("")
    assert len(uses) >= 40
    assert len({use.category for use in uses}) == len(uses)
    for use in uses:
        assert use.description and use.description.endswith(".")
        names = [normalize(label) for label in use.labels]
        assert len(set(names)) == len(names), f"{use.category}: a label stands twice"
        assert [label for label in use.labels if label != label.lower() or "_" in label] == []


def test_the_picture_book_world_is_in_the_table() -> None:
    table = Table.of(affordances.load(""), normalize)
    assert [name for name in vocabulary.THINGS if normalize(name) not in table.places] == []
    assert {"grass", "sand", "water", "road", "floor"} <= table.places.keys()


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "uses.toml"
    path.write_text('["to\u00efl"]\nlabels = ["hammer"]\n', "utf-8")
    assert affordances.load(str(path)) == (Use("to\u00efl", None, ("hammer",)),)
    assert affordances.digest(str(path)) != affordances.digest("")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a", "is not valid TOML"),
        ("\xff", "is not valid TOML"),
        ("", "has no table: it needs one table per use"),
        ("a = 1", "'a' in .* is no use"),
        ("[a]\nlabels = []", "'a' in .* is no use"),
        ("[a]\nlabels = [1]", "'a' in .* is no use"),
        ("[a]\nlabels = ['x']\nlabel = 'x'", "'a' in .* is no use"),
        ("[a]\nlabels = ['x']\ndescription = 2", "'a' in .* is no use"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "uses.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=message):
        affordances.load(str(path))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*absent\.toml"):
        affordances.digest(str(tmp_path / "absent.toml"))
