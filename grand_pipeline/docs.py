"""Write the reference pages under docs/ from the code, so that they can not disagree with it.

python -m grand_pipeline.docs [FOLDER]
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from grand_pipeline import catalog
from grand_pipeline.columns import (
    ANNOTATION_SCHEMA,
    COLUMNS,
    IMAGE_SCHEMA,
    IMPORTED,
    Column,
    Family,
)
from grand_pipeline.stage import Limits, Resources, Stage
from grand_pipeline.zoo import page

_NOTE = "<!-- Written by `make docs` from the code; edit the code instead. -->"
_OPTION_HEAD = ("option", "type", "default", "meaning")
_FOLDER = Path(__file__).parent.parent / "docs"


def pages() -> dict[str, str]:
    """File name -> Markdown of every generated page."""
    return {
        "stages.md": stages_page(),
        "columns.md": columns_page(),
        "commands.md": commands_page(),
        "models.md": models_page(),
    }


def stages_page() -> str:
    """Every stage: purpose, columns, options with types, defaults and meanings."""
    lines = [
        "# Stages",
        _NOTE,
        "",
        "A stage with a `source` is a family: a preset has one table per source "
        "(`[captions.blip]`), and the source is part of the column's name. Options marked "
        "*operational* do not change what is written and cause no recomputation. Every stage has:",
        "",
        *_table(_OPTION_HEAD, _options(Stage)),
    ]
    for name in catalog.STAGES:
        lines += _stage(name, catalog.stage_class(name))
    return _text(lines)


def columns_page() -> str:
    """The data dictionary: fragments, image rows, published rows."""
    lines = [
        "# Columns",
        _NOTE,
        "",
        "Conventions: boxes are `xyxy` in absolute pixels of the EXIF-upright image, half-open; "
        "masks are COCO compressed run lengths; depth is relative and larger = nearer; spans are "
        "`[start, end)` character offsets.",
        "",
        "## Columns of the stages",
        "`name.*` is a family with one member per source. Beside its columns every fragment has "
        "`image_id`, `_error` (why this image has no values) and `_skipped` (the step whose "
        "failure left nothing to work on).",
        "",
        *_table(("column", "meaning", "written by"), _column_rows()),
        "",
        *_types((_label(c), c.type if isinstance(c, Column) else c.of("x").type) for c in COLUMNS),
        "## Image rows: `images/<shard>.parquet`",
        *_types((field.name, field.type) for field in IMAGE_SCHEMA),
        "## Published rows: `annotations/<shard>.parquet`",
        *_types((field.name, field.type) for field in ANNOTATION_SCHEMA),
    ]
    return _text(lines)


def commands_page() -> str:
    """Every command with its arguments and options."""
    import typer

    from grand_pipeline.cli import app

    lines = [
        "# Commands",
        _NOTE,
        "",
        "Exit codes: 0 when all asked work is done, 1 when work was left undone or a run is "
        "damaged, 2 for a user's mistake, 3 when more images failed than `--max-failed` allows.",
    ]
    for path, command in _commands(typer.main.get_command(app), ("grand",)):
        lines += ["", f"## `{' '.join(path)}`", inspect.cleandoc(command.help or ""), ""]
        lines += _table(("argument or option", "default", "meaning"), _parameters(command))
    return _text(lines)


def models_page() -> str:
    """Every published model that is known: size, licence, and how it was shown to work."""
    lines = ["# Models", _NOTE, *page.INTRODUCTION.splitlines()]
    for role, rows in page.sections():
        lines += ["", f"## {role[0].upper()}{role[1:]}", "", *_table(page.HEAD, rows)]
    return _text(lines)


def _stage(name: str, cls: type[Stage[Any]]) -> list[str]:
    stage = _outline(cls)
    doc = inspect.getdoc(sys.modules[cls.__module__]) or ""
    reads = ", ".join([*["the image"] * stage.needs_image, *map(_quoted, stage.reads)])
    writes = ", ".join(map(_quoted, stage.writes))
    return [
        "",
        f"## {name}",
        f"Level {cls.level}. {doc}",
        "",
        f"Reads {reads}; writes {writes}.",
        "",
        *_table(_OPTION_HEAD, _options(cls)),
    ]


def _outline(cls: type[Stage[Any]]) -> Stage[Any]:
    """An instance with defaults, and None where an option has none: enough for its columns."""
    stage = object.__new__(cls)
    for field in dataclasses.fields(cls):
        value = field.default
        if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        if value is dataclasses.MISSING:
            value = "SOURCE" if field.name == "source" else None
        object.__setattr__(stage, field.name, value)
    return stage


def _options(cls: type[Any]) -> Iterator[tuple[str, ...]]:
    hints = typing.get_type_hints(cls)
    docs = {name: text for base in reversed(cls.__mro__) for name, text in _field_docs(base)}
    common = {} if cls is Stage else {f.name: f.default for f in dataclasses.fields(Stage)}
    for field in dataclasses.fields(cls):
        if field.name in common and field.default == common[field.name]:
            continue
        doc = docs.get(field.name, "")
        mark = " *(operational)*" if doc and field.name in cls.operational else ""
        yield f"`{field.name}`", f"`{_hint(hints[field.name])}`", _default(field), doc + mark


def _field_docs(cls: type[Any]) -> Iterator[tuple[str, str]]:
    """Name and the string below the field, which Python itself does not keep."""
    try:
        body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls))).body[0]
    except (OSError, TypeError):
        return
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, below in pairwise(statements):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield field.target.id, str(below.value.value)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _value(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _value(field.default_factory())
    return "required"


def _value(value: Any) -> str:
    if isinstance(value, Resources | Limits):
        return ", ".join(f"`{k}={v:g}`" for k, v in dataclasses.asdict(value).items())
    if dataclasses.is_dataclass(value):
        return "built in"
    if isinstance(value, tuple) and len(value) > 4:
        return f"{len(value)} built-in values"
    return f"`{list(value) if isinstance(value, tuple) else value!r}`"


def _hint(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return re.sub(r"[\w.]+\.(\w+)", r"\1", text).replace("|", "or")


def _column_rows() -> Iterator[tuple[str, ...]]:
    writers = {column.name: ["`imported`"] for column in IMPORTED}
    for name in catalog.STAGES:
        for column in _outline(catalog.stage_class(name)).writes:
            writers.setdefault(column.name.partition(".")[0], []).append(f"`{name}`")
    for known in COLUMNS:
        yield f"`{_label(known)}`", known.doc, ", ".join(writers.get(known.name, []))


def _label(column: Column[Any] | Family[Any]) -> str:
    return f"{column.name}.*" if isinstance(column, Family) else column.name.replace("SOURCE", "*")


def _quoted(column: Column[Any] | Family[Any]) -> str:
    return f"`{_label(column)}`"


def _types(fields: Iterable[tuple[str, pa.DataType]]) -> list[str]:
    return ["```", *(f"{name}: {_arrow(type_)}" for name, type_ in fields), "```", ""]


def _arrow(type_: pa.DataType) -> str:
    if pa.types.is_struct(type_):
        return f"struct<{', '.join(f'{f.name}: {_arrow(f.type)}' for f in type_)}>"
    if pa.types.is_fixed_size_list(type_):
        return f"fixed_size_list<{_arrow(type_.value_type)}, {type_.list_size}>"
    if pa.types.is_list(type_):
        return f"list<{_arrow(type_.value_type)}>"
    return {"float": "float32", "halffloat": "float16"}.get(str(type_), str(type_))


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, child in inner.items():
        yield from _commands(child, (*path, name))


def _parameters(command: Any) -> Iterator[tuple[str, ...]]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
        else:
            name = ", ".join([*parameter.opts, *parameter.secondary_opts])
            name += f" {parameter.metavar}" if parameter.metavar else ""
        default = "required" if parameter.required else _shown(parameter.default)
        yield f"`{name}`".replace("|", "\\|"), default, parameter.help or ""


def _shown(default: Any) -> str:
    return "" if default is None or default is False else f"`{default}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = [f"| {' | '.join(' '.join(cell.split()) for cell in row)} |" for row in rows]
    if not body:
        return []
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write all pages to the folder given, or to docs/ of the checkout."""
    folder = Path(arguments[0]) if arguments else _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
