"""Commands that give what is in a run to other tools: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grand_pipeline import disk
from grand_pipeline.cli.options import JsonOption, RunOption, echo, print_json

OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.")]


def export_grand(run: RunOption, out: OutOption, as_json: JsonOption = False) -> None:
    """Write finished GranD annotations: one JSON file per image."""
    from grand_pipeline.exporters import grand
    from grand_pipeline.store import Run

    with disk.guarded(out):
        report = grand.export_annotations(Run.open(run), out)
    if as_json:
        print_json(report.data())
    else:
        echo(report.text())
