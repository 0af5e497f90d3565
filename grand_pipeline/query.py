"""SQL over the tables of a run, with DuckDB: read only, and nothing but the run.

Every file is opened when the query begins and held open until it ends, so a query sees each shard
as it was at that moment, whatever a driver at work publishes or supersedes meanwhile; of a run in a
bucket, its files are copied here first, into a temporary folder. DuckDB itself may open no file at
all: it is handed Arrow datasets, which read the columns that are asked for, piece by piece.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from duckdb.sqltypes import DuckDBPyType

from grand_pipeline.columns import ANNOTATION_SCHEMA, IMAGE_SCHEMA
from grand_pipeline.errors import RunError, UserError
from grand_pipeline.storage import Place
from grand_pipeline.store import ANNOTATIONS, Run

Columns = Mapping[str, Mapping[str, DuckDBPyType]]
"""Table -> column -> type."""

_SPARE_FILES = 64
_BATCH = 256
_CLOSED: Mapping[str, str] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}
"""No file, no variable of this program, no extension; and nothing that is asked can change that."""

_MISTAKES = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)


@dataclass(frozen=True)
class Table:
    """A table as SQL sees it; `select` makes it of `_annotations` and `_images`."""

    doc: str
    select: str


TABLES: Mapping[str, Table] = {
    "annotations": Table("the published rows, one per image", "FROM _annotations"),
    "objects": Table(
        "one row per object; its box as x1, y1, x2, y2 in pixels",
        """SELECT image_id, o.id, o.status, o.kind, o.label, o.score,
        o.box[1] AS x1, o.box[2] AS y1, o.box[3] AS x2, o.box[4] AS y2, o.depth, o.layer,
        o."group", o.votes, o.attributes, o.mask_source, o.mask_score, o.mask
        FROM (SELECT image_id, unnest(objects) AS o FROM _annotations)""",
    ),
    "phrases": Table(
        "one row per phrase that is tied to objects",
        """SELECT image_id, p.* FROM
        (SELECT image_id, unnest(phrases) AS p FROM _annotations)""",
    ),
    "relations": Table(
        "one row per relation; subject and object are ids of objects of the image",
        """SELECT image_id, r.* FROM
        (SELECT image_id, unnest(relations) AS r FROM _annotations)""",
    ),
    "captions": Table(
        "one row per short caption, with its grounded spans",
        """SELECT image_id, c.* FROM
        (SELECT image_id, unnest(captions) AS c FROM _annotations)""",
    ),
    "failures": Table(
        "one row per image and stage that failed; stage `ingest`: no readable picture",
        """SELECT image_id, uri, e.* FROM
        (SELECT image_id, uri, unnest(errors) AS e FROM _annotations)
        UNION ALL SELECT image_id, uri, 'ingest', error FROM _images
        WHERE error IS NOT NULL AND image_id NOT IN (SELECT image_id FROM _annotations)""",
    ),
    "images": Table(
        "every picture that was found, annotated or not; its embedded bytes are left out",
        "SELECT * EXCLUDE (bytes) FROM _images",
    ),
}
"""Table -> what it holds, for SQL and for the reader."""


@dataclass(frozen=True)
class Answer:
    """Names of the result's columns, and its rows, which are read as they are asked for."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def ask(run: Run, sql: str) -> Iterator[Answer]:
    """The answer to one SELECT (or EXPLAIN, DESCRIBE, SUMMARIZE) over TABLES.

    A shard that is published or superseded meanwhile is seen as it was when the query began. Raises
    UserError with DuckDB's message, for a mistake in the SQL with all tables and columns as well.
    """
    with _connected(run) as connection:
        try:
            statements = connection.extract_statements(sql)
            kinds = [statement.type for statement in statements]
            if kinds not in ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN]):
                names = ", ".join(kind.name for kind in kinds) or "nothing"
                raise UserError(
                    f"a run is only read: one SELECT, DESCRIBE, SUMMARIZE or EXPLAIN, not {names}"
                )
            connection.execute(statements[0])
            columns = tuple(column[0] for column in connection.description)
            yield Answer(columns, _rows(connection))
        except _MISTAKES as error:
            known = "\n".join(f"  {t}: {', '.join(c)}" for t, c in _columns(connection).items())
            raise UserError(f"{error}\n\nTables and columns:\n{known}") from None
        except duckdb.Error as error:
            raise UserError(f"the query failed: {error}") from None


def tables(run: Run) -> Columns:
    """Every table with its columns."""
    with _connected(run) as connection:
        return _columns(connection)


def listing(columns: Columns) -> str:
    """Tables and their columns for people."""
    lines = []
    for table, held in columns.items():
        lines.append(f"{table}: {TABLES[table].doc}")
        lines += [f"    {name:<14} {_short(kind)}" for name, kind in held.items()]
    return "\n".join(lines)


def _short(kind: DuckDBPyType) -> str:
    """A type's name; of a struct the names of its fields alone."""
    inner = kind.children[0][1] if kind.id == "list" else None
    if isinstance(inner, DuckDBPyType):
        return f"{_short(inner)}[]"
    if kind.id == "struct":
        return f"STRUCT({', '.join(name for name, _ in kind.children)})"
    return str(kind)


@contextmanager
def _connected(run: Run) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in memory with the views of TABLES and nothing else."""
    with ExitStack() as held:
        connection = held.enter_context(duckdb.connect(config=dict(_CLOSED)))
        shards = run.shards()
        _allow_files(2 * len(shards) + _SPARE_FILES)
        found = {
            "_annotations": (ANNOTATION_SCHEMA, [run.fragment(ANNOTATIONS, s) for s in shards]),
            "_images": (IMAGE_SCHEMA, [run.images_path(s) for s in shards]),
        }
        for name, (schema, paths) in found.items():
            connection.register(name, _dataset(paths, schema, held))
        for name, table in TABLES.items():
            connection.execute(f'CREATE VIEW "{name}" AS {table.select}')
        yield connection


def _dataset(paths: list[Place], schema: pa.Schema, held: ExitStack) -> ds.FileSystemDataset:
    """The files that are there, opened; what is superseded at this moment is left out."""
    layout = ds.ParquetFileFormat()
    fragments = []
    for path in paths:
        with suppress(FileNotFoundError):
            fragments.append(layout.make_fragment(held.enter_context(_opened(path))))
    return ds.FileSystemDataset(fragments, schema, layout)


def _opened(path: Place) -> pa.NativeFile:
    """The file, or a copy that is gone when it is closed. Raises FileNotFoundError."""
    if isinstance(path, Path):
        return pa.OSFile(str(path))
    with tempfile.NamedTemporaryFile(prefix="grand-query-") as copy:
        path.download(copy.file)
        copy.flush()
        return pa.OSFile(copy.name)


def _allow_files(count: int) -> None:
    """Let this process hold `count` files open. Raises RunError where the system forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or count <= soft:
        return
    if hard != resource.RLIM_INFINITY and count > hard:
        raise RunError(
            f"the query would hold {count} files open, and this system allows {hard}: raise the "
            "limit (ulimit -Hn), or read RUN/annotations/*.parquet with a DuckDB of your own"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := connection.fetchmany(_BATCH):
        yield from batch


def _columns(connection: duckdb.DuckDBPyConnection) -> Columns:
    views = {name: connection.view(name) for name in TABLES}
    return {n: dict(zip(v.columns, v.types, strict=True)) for n, v in views.items()}
