"""SQL over a run: the tables, what is refused, and what a query sees of a run in progress."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline import cli, query
from grand_pipeline.columns import Annotation, ImageRow, StageError
from grand_pipeline.errors import UserError
from grand_pipeline.store import ANNOTATIONS, Run
from tests.training.data.made import thing, write_run


def _rows(run: Run, sql: str) -> list[tuple[Any, ...]]:
    with query.ask(run, sql) as answer:
        return list(answer.rows)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def broken(row: Annotation) -> Annotation:
        failed = row.uri.endswith("000002.png")
        return replace(row, errors=(StageError("depth", "too dark"),)) if failed else row

    return write_run(tmp_path_factory.mktemp("made"), [2, 3], change=broken)


def test_every_table_has_rows_of_its_kind(run: Run) -> None:
    counts = {name: _rows(run, f'SELECT count(*) FROM "{name}"')[0][0] for name in query.TABLES}
    assert counts == {
        "annotations": 5,
        "objects": 10,
        "phrases": 10,
        "relations": 5,
        "captions": 5,
        "failures": 1,
        "images": 5,
    }


def test_objects_are_flat(run: Run) -> None:
    sql = "SELECT id, label, x1, y1, x2, y2, attributes[1].text FROM objects ORDER BY id LIMIT 1"
    assert _rows(run, sql) == [(0, "ball", 4, 8, 20, 24, "red")]


def test_tables_join_by_image(run: Run) -> None:
    sql = """SELECT s.label, r.predicate, o.label, count(*) FROM relations r
    JOIN objects s ON s.image_id = r.image_id AND s.id = r.subject
    JOIN objects o ON o.image_id = r.image_id AND o.id = r.object GROUP BY ALL"""
    assert _rows(run, sql) == [("ball", "to the left of", "box", 5)]


def test_failures_name_the_stage(run: Run) -> None:
    assert _rows(run, "SELECT stage, message FROM failures") == [("depth", "too dark")]


def test_a_run_in_progress_has_what_is_published(tmp_path: Path) -> None:
    run = write_run(tmp_path, [2])
    lost = ImageRow("f" * 32, "torn.png", (), None, None, None, "truncated", None)
    run.add_shard([lost])
    assert _rows(run, "SELECT count(*) FROM annotations") == [(2,)]
    assert _rows(run, "SELECT count(*) FROM images") == [(3,)]
    assert _rows(run, "SELECT * FROM failures") == [("f" * 32, "torn.png", "ingest", "truncated")]


def test_a_run_without_published_rows_has_empty_tables(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {})
    assert _rows(run, "SELECT * FROM objects") == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('{run}/annotations/00000.parquet')",
        "SELECT * FROM '{run}/annotations/00000.parquet'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM secret",
        "SELECT getenv('HOME')",
        "COPY (SELECT 1) TO '{run}/stolen.csv'",
        "ATTACH '{run}/stolen.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "CREATE TABLE mine AS SELECT 1",
        "DROP VIEW objects",
        "DELETE FROM images",
        "SELECT 1; DROP VIEW objects",
        "",
    ],
)
def test_nothing_but_the_run_is_read_and_nothing_written(run: Run, sql: str) -> None:
    secret = [(1,)]  # a variable that DuckDB would otherwise take for a table
    before = sorted(run.root.rglob("*"))
    with pytest.raises(UserError):
        _rows(run, sql.format(run=run.root))
    assert sorted(run.root.rglob("*")) == before and secret


def test_a_mistake_is_told_with_what_there_is(run: Run) -> None:
    with pytest.raises(UserError, match=r'"lable" not found(.|\n)*  objects: image_id, id'):
        _rows(run, "SELECT lable FROM objects")


def test_a_query_sees_a_shard_as_it_was_when_it_began(tmp_path: Path) -> None:
    run = write_run(tmp_path, [300])
    other = write_run(tmp_path / "other", [7], change=_only_a_car)
    old = run.fragment(ANNOTATIONS, "00000")
    sql = "SELECT a.label FROM objects a JOIN objects b USING (image_id, id)"
    with query.ask(run, sql) as answer:
        first = next(answer.rows)
        other.fragment(ANNOTATIONS, "00000").replace(old)
        labels = {first[0], *(row[0] for row in answer.rows)}
    assert labels == {"ball", "box"}
    assert set(_rows(run, sql)) == {("car",)}


def _only_a_car(row: Annotation) -> Annotation:
    return replace(row, objects=(thing(0, (0, 0, 4, 4), "car"),))


def _printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    cli.main(["query", *map(str, arguments)])
    return capsys.readouterr().out


def test_json_and_csv_give_every_row(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT id, attributes, 'nan'::FLOAT AS odd, score > 1 AS big FROM objects, range(30)"
    rows = json.loads(_printed(capsys, run.root, sql, "--json"))
    assert len(rows) == 300
    assert {
        "id": 0,
        "attributes": [{"source": "made", "text": "red"}],
        "odd": None,
        "big": False,
    } in rows
    table = list(csv.DictReader(io.StringIO(_printed(capsys, run.root, sql, "--csv"))))
    assert len(table) == 300
    assert json.loads(table[0]["attributes"])[0]["source"] == "made"


def test_no_row_is_an_empty_list(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(_printed(capsys, run.root, "FROM objects WHERE id = 9", "--json")) == []


def test_a_table_for_people_is_short_and_harmless(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "SELECT '[bold]\u001b[2J' || repeat('x', 500) AS \"[i]\" FROM objects, range(30)"
    lines = _printed(capsys, run.root, sql).splitlines()
    assert lines[0].strip() == "[i]" and lines[1].startswith(r"[bold]\u001b[2Jxxx")
    assert max(map(len, lines)) < 120 and len(lines) == 102
    assert "--csv" in lines[-1]


def test_without_sql_all_columns_are_listed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert "spans          STRUCT(start, end, object_ids)[]" in _printed(capsys, run.root)
    assert json.loads(_printed(capsys, run.root, "--json"))["objects"]["x1"] == "FLOAT"


def test_names_that_json_would_merge_are_refused(run: Run) -> None:
    with pytest.raises(SystemExit):
        cli.main(["query", str(run.root), "SELECT 1 AS a, 2 AS a", "--json"])
