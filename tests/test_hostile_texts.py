"""What commands print of a run whose every text is an attack gives no orders to a terminal."""

from __future__ import annotations

import re

import pytest

from grand_pipeline import cli
from grand_pipeline.store import Run
from tests.viewer.runs import besieged_run

ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return besieged_run(tmp_path_factory.mktemp("besieged"))


@pytest.mark.parametrize(
    "command",
    [
        ("stats",),
        ("stats", "--json"),
        ("query", "SELECT label, id FROM objects"),
        ("query", "SELECT * FROM objects", "--json"),
        ("query", "SELECT '\x1b[2J' AS \"\x1b[31mx\""),
    ],
    ids=["stats", "stats-json", "query", "query-json", "query-name"],
)
def test_texts_give_a_terminal_no_orders(
    run: Run, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    name, *more = command
    cli.main([name, str(run.root), *more])
    told = capsys.readouterr()
    assert told.out and not ORDERS.search(told.out + told.err)


@pytest.mark.parametrize("sql", ["SELECT error('\x1b[2J\u202e')", 'SELECT "\x1b[2J" FROM objects'])
def test_nor_do_refusals(run: Run, sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["query", str(run.root), sql])
    told = capsys.readouterr()
    assert told.err and not ORDERS.search(told.err)


def test_a_label_has_one_place_in_the_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["stats", str(run.root)])
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert {"images", "objects"} <= set(headings)
    assert all(re.fullmatch("[a-z ]+", line) for line in headings)
    assert max(map(len, lines)) < 300
