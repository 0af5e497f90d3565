"""Options and output that several commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RunOption = Annotated[Path, typer.Option("--run", metavar="RUN", help="A run directory.")]
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
    str | None, typer.Option(help="Ray cluster: auto or ray://HOST:PORT. Default: this machine.")
]
MaxFailedOption = Annotated[
    int | None, typer.Option(help="Exit with 3 when more images than this failed. Default: 0.")
]


def console() -> Console:
    """The terminal. A pipe has no width of its own; names must not be cut for it."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def print_json(report: object) -> None:
    """A report as indented JSON on stdout."""
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
