"""Options and output that several commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from grand_pipeline import storage
from grand_pipeline.terminal import Terminal, printable

if TYPE_CHECKING:
    Place = storage.Place
else:
    Place = Path  # typer knows no unions, and leaves the type to the parser


def place(name: str | Place) -> Place:
    """The run that a user names. Raises RunError where its bucket can not be looked into."""
    found = storage.place(name)
    if not isinstance(found, Path):
        found.reach()
    return found


RUN_HELP = "A run: a folder, or s3://BUCKET/NAME."
RunArgument = Annotated[Place, typer.Argument(metavar="RUN", parser=place, help=RUN_HELP)]
RunOption = Annotated[Place, typer.Option("--run", metavar="RUN", parser=place, help=RUN_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.OPTION=VALUE", help="Override an option; repeatable."),
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="NAME|FILE", help="A preset or a TOML file.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="STAGE", help="Stop after this stage.")
]
AddressOption = Annotated[
    str | None, typer.Option(help="Ray cluster: auto or HOST:PORT. Default: this machine.")
]
MaxFailedOption = Annotated[
    int | None, typer.Option(help="Exit with 3 when more images than this failed. Default: 0.")
]


def console() -> Console:
    """The terminal. A pipe has no width of its own; names must not be cut for it."""
    return Terminal() if sys.stdout.isatty() else Terminal(width=160)


def echo(text: str, *, err: bool = False) -> None:
    """A line, or lines, on stdout or stderr, without anything that a terminal would obey."""
    typer.echo(printable(text), err=err)


def print_json(report: object) -> None:
    """A report as indented JSON on stdout."""
    echo(json.dumps(report, indent=2, ensure_ascii=False))
