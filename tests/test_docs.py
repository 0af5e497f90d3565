"""The reference pages in docs/ are what the code says today."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from grand_pipeline import catalog, docs
from grand_pipeline.columns import COLUMNS

ROOT = Path(__file__).parent.parent
PAGES = docs.pages()


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_fresh(name: str) -> None:
    found = (ROOT / "docs" / name).read_text("utf-8")
    assert found == PAGES[name], f"docs/{name} is stale: run `make docs`"


@pytest.mark.parametrize("name", catalog.STAGES)
def test_every_option_is_explained(name: str) -> None:
    explained = {row[0].strip("`"): row[3] for row in docs._options(catalog.stage_class(name))}
    assert [option for option, meaning in explained.items() if not meaning] == []
    own = {field.name for field in dataclasses.fields(catalog.stage_class(name))}
    assert set(explained) <= own


def test_every_column_has_a_writer() -> None:
    rows = {row[0]: row[2] for row in docs._column_rows()}
    assert len(rows) == len(COLUMNS)
    assert [column for column, writers in rows.items() if not writers] == []


def test_commands_page_knows_nested_commands_and_options() -> None:
    page = docs.commands_page()
    assert "## `grand build`" in page
    assert "## `grand picturebook render`" in page
    assert "| `--images DIR\\|GLOB\\|URL` |  | Images" in page
    assert "| `--run RUN` | required |" in page
    assert "## `grand import grand-raw`" in page


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[<>=!~\[ ;]", text)[0] for text in project["dependencies"]}
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("## Dependencies")[1]
    assert set(re.findall(r"^\| ([\w-]+) \| \w", page, re.MULTILINE)) - {"package"} == names


def test_every_test_that_a_promise_names_is_there() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    file, missing = "", []
    names = re.findall(r"`((?:\w+/)*test_\w+\.py)?(?:::)?(test_\w+\*?)?`", text)
    for named, test in names:
        # A name without a file is of the file before it; `*` stands for the rest of a name.
        file = named or file
        source = (ROOT / "tests" / file).read_text("utf-8")
        begin = f"def {test.rstrip('*')}" + ("" if test.endswith("*") else r"\b")
        if test and not re.search(begin, source):
            missing.append(f"{file}::{test}")
    assert missing == []
    assert len(names) > 100
