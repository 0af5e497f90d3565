"""Commands that look into a run from a browser or with SQL: view, query."""

from __future__ import annotations

import csv
import itertools
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from grand_pipeline.cli.options import JsonOption, RunArgument, console, echo, print_json
from grand_pipeline.codec import json_text
from grand_pipeline.errors import UserError
from grand_pipeline.store import Run
from grand_pipeline.terminal import one_line, printable

if TYPE_CHECKING:
    from grand_pipeline.query import Answer

_SHOWN_ROWS = 100
_SHOWN_LETTERS = 80


def view(
    run: RunArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this let other machines look.")
    ] = "127.0.0.1",
) -> None:
    """Look at a run in a browser, also while it is being built; nothing is changed."""
    from grand_pipeline.viewer import server

    with server.open_server(Run.open(run), host, port) as opened:
        if not server.is_local(host):
            echo(
                f"warning: whoever reaches {host}:{opened.server_port} sees all pictures and texts "
                "of this run, without a password",
                err=True,
            )
        echo(f"{run} on {opened.url} (Ctrl-C ends)")
        with suppress(KeyboardInterrupt):
            opened.serve_forever()


def query(
    run: RunArgument,
    sql: Annotated[
        str | None, typer.Argument(metavar="[SQL]", help="Without it: all tables and columns.")
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, nested values as JSON.")
    ] = False,
) -> None:
    """Ask a run with SQL (DuckDB), also while it is being built; nothing is changed.

    On a terminal or in a pipe the first 100 rows are shown; --json and --csv give all.
    """
    from grand_pipeline import query as queries

    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other; give one")
    opened = Run.open(run)
    if sql is None:
        columns = queries.tables(opened)
        if as_json:
            print_json({t: {n: str(k) for n, k in held.items()} for t, held in columns.items()})
        else:
            echo(queries.listing(columns))
        return
    with queries.ask(opened, sql) as answer:
        (_print_json if as_json else _print_csv if as_csv else _print_table)(answer)


def _print_json(answer: Answer) -> None:
    """A JSON array with one object per row, a row per line, written as rows come."""
    twice = [name for name, count in Counter(answer.columns).items() if count > 1]
    if twice:
        raise UserError(f"several columns are called '{twice[0]}'; name them apart with AS")
    lead = "["
    for row in answer.rows:
        held = dict(zip(answer.columns, row, strict=True))
        print(f"{lead}\n{printable(json_text(held))}", end="")
        lead = ","
    print("[]" if lead == "[" else "\n]")


def _print_csv(answer: Answer) -> None:
    shown = printable if sys.stdout.isatty() else str  # A file gets the very texts.
    plain, quoted = (
        csv.writer(sys.stdout, lineterminator="\n", quoting=how)
        for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    plain.writerow(map(shown, answer.columns))
    for row in answer.rows:
        cells = [shown(_cell(value)) for value in row]
        # Left to itself, csv would not quote a return, which readers take for the end of a row.
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)


def _print_table(answer: Answer) -> None:
    table = Table(*map(escape, answer.columns), box=None, pad_edge=False)
    shown = list(itertools.islice(answer.rows, _SHOWN_ROWS + 1))
    for row in shown[:_SHOWN_ROWS]:
        table.add_row(*(Text(_cut(_cell(value))) for value in row))
    console().print(table)
    if len(shown) > _SHOWN_ROWS:
        echo(f"... the first {_SHOWN_ROWS} rows; --json or --csv gives all")


def _cell(value: Any) -> str:
    """One value as text: nested ones as JSON, null as nothing."""
    if value is None:
        return ""
    return json_text(value) if isinstance(value, dict | list | tuple | bool) else str(value)


def _cut(text: str) -> str:
    """A text on one line that a terminal can hold."""
    line = one_line(text)
    return line if len(line) <= _SHOWN_LETTERS else f"{line[:_SHOWN_LETTERS]}..."
