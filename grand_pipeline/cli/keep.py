"""Commands that keep a run whole: verify, repair."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from grand_pipeline import build, publication, seal, settings
from grand_pipeline.cli.options import (
    AddressOption,
    JsonOption,
    PresetOption,
    RunArgument,
    SetOption,
    console,
    echo,
    print_json,
)
from grand_pipeline.cli.run import watched
from grand_pipeline.errors import DamageError, UserError
from grand_pipeline.store import Run
from grand_pipeline.verify import Finding, Report
from grand_pipeline.verify import verify as look_through


def verify(
    run: RunArgument,
    images: Annotated[
        bool, typer.Option("--images", help="Read the pictures again: changed, vanished?")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find every damage of a run: damaged, swapped, missing and foreign files, and values that do
    not belong together; exit with 1 when there is any."""
    report = look_through(run, sources=images)
    if as_json:
        print_json(report.json())
    else:
        _print(report)
    if not report.whole:
        raise DamageError(
            f"{len(report.findings)} things are wrong in '{run}'; `grand repair {run}` does what "
            "the table says"
        )


def repair(
    run: RunArgument,
    preset: PresetOption = None,
    set_: SetOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move damaged files aside (RUN/.damaged) and compute them again, and nothing else. --preset
    and --set are for a run whose run.json is damaged; exit with 1 when something is still wrong."""
    from grand_pipeline import repair as repair_module

    description = run / "run.json"
    lost = not description.is_file() or publication.look(description, seal.fault) is not None
    named = None
    if preset is not None:
        named = build.described(settings.override(settings.load_preset(preset), set_ or []), None)
    if (preset is not None or set_) and not lost:
        raise UserError(f"'{description}' is whole, and repairing takes the options that it names")
    if not lost:
        build.recorded_preset(Run.open(run))  # Refuses a run that cannot be computed again.

    def compute() -> None:
        chosen, until = build.recorded_preset(Run.open(run))
        # Images that failed were reported by the build that met them.
        job = build.Job(run, chosen, until=until, address=address, max_failed=sys.maxsize)
        watched(lambda watch: build.build(job, watch))

    done = repair_module.repair(run, compute, named)
    if as_json:
        moved = [vars(finding) for finding in done.moved]
        print_json({"repaired": moved, "notes": done.notes, "now": done.now.json()})
    else:
        _print_findings("repaired", done.moved)
        for note in done.notes:
            console().print(note, markup=False)
        _print(done.now)
    if not done.now.whole:
        raise DamageError(f"{len(done.now.findings)} things are still wrong in '{run}'")


def _print(report: Report) -> None:
    if not report.whole:
        _print_findings("wrong", report.findings)
    found = report.json()
    busy = "; a driver is at work, so missing files are not looked for" if report.busy else ""
    echo(
        f"{found['files']} files, {report.bytes / 1e6:.1f} MB in {report.seconds:.2f} s "
        f"({found['mb_per_second']} MB/s): {len(report.findings)} things are wrong{busy}"
    )


def _print_findings(title: str, findings: tuple[Finding, ...]) -> None:
    table = Table("file", "what", "detail", "repair", title=title)
    for one in findings:
        table.add_row(*map(escape, (one.path, one.kind, one.detail, one.remedy)))
    for column in table.columns:
        column.overflow = "fold"
    console().print(table)
