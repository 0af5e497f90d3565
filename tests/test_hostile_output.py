"""What commands print and write about files with hostile names, and about hostile arguments."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from grand_pipeline.store import Run
from tests.chaos import corpus
from tests.fakes import png
from tests.test_hostile_names import NAMES, obeyed, said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built run of a picture under every name; no test changes it."""
    root = tmp_path_factory.mktemp("hostile")
    pictures = root / "pictures"
    pictures.mkdir()
    for number, name in enumerate(NAMES.values()):
        path = os.path.join(os.fsencode(pictures), os.fsencode(name))
        Path(os.fsdecode(path)).write_bytes(png(number, (64, 48)))
    corpus.built(root / "run", pictures)
    return root / "run"


@pytest.mark.parametrize(
    "command",
    [
        *("status RUN", "stats RUN", "verify RUN --images", "explain RUN red.png"),
        *("show RUN --limit 2 --out OUT", "export grand --run RUN --out OUT"),
        *("query RUN SQL", "query RUN SQL --json", "status RUN --json", "stats RUN --json"),
        *("explain RUN red.png --json", "verify RUN --images --json"),
    ],
)
def test_commands_print_nothing_that_a_terminal_obeys(
    run: Path, tmp_path: Path, command: str
) -> None:
    given = {"RUN": str(run), "OUT": str(tmp_path / "out"), "SQL": "SELECT uri FROM images"}
    out, err = said(*(given.get(word, word) for word in command.split()))
    assert (obeyed(out), err) == ("", "")
    assert out
    if "--json" in command:
        json.loads(out)
    if "SQL --json" in command:
        found = {row["uri"] for row in json.loads(out)}
        assert found == {row.uri for row in Run.open(run).images()}


def test_csv_for_a_file_holds_the_very_names(run: Path) -> None:
    out, _ = said("query", str(run), "SELECT uri FROM images", "--csv")
    found = {row[0] for row in list(csv.reader(io.StringIO(out, newline="")))[1:]}
    assert found == {row.uri for row in Run.open(run).images()}


def test_every_name_is_exported(run: Path, tmp_path: Path) -> None:
    said("export", "grand", "--run", str(run), "--out", str(tmp_path))
    files = list(tmp_path.rglob("*.json"))
    assert len(files) >= len(NAMES)
    for file in files:
        json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize(
    "argument",
    ["--\x1b[31m", "-\u009b2J", "\udcff", "--\u202ehelp"],
    ids=["escape", "short escape", "no text", "turned"],
)
def test_hostile_arguments_are_shown_escaped(run: Path, argument: str) -> None:
    out, err = said("status", str(run), argument)
    assert (obeyed(out + err), out) == ("", "")
    assert "\\u" in err or "\\x" in err


def test_what_is_found_readable_no_stage_fails_on(tmp_path: Path) -> None:
    found = corpus.accounted_for(tmp_path, 100)
    assert found.pop("found") == 101 == sum(found.values())
    assert (found["failed"], found["pending"]) == (0, 0)
    assert found["annotated"] > 10
