"""Commands that look at a run or at the machine: show, explain, stats, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grand_pipeline import disk
from grand_pipeline.cli.options import JsonOption, RunArgument, console, echo, print_json
from grand_pipeline.errors import UserError
from grand_pipeline.store import Run


def show(
    run: RunArgument,
    image_ids: Annotated[list[str] | None, typer.Argument(metavar="[IMAGE_ID]...")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: RUN/show.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many pictures.")] = 100,
) -> None:
    """Write one annotated PNG per image and a contact sheet."""
    from grand_pipeline.show import show as draw_run

    folder = out or run / "show"
    if not isinstance(folder, Path):
        raise UserError(f"'{run}' is in a bucket, and pictures are drawn into a folder: give --out")
    with disk.guarded(folder):
        written = draw_run(Run.open(run), folder, image_ids or None, limit)
    echo(f"{len(written)} pictures in {folder}")


def explain(
    run: RunArgument,
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE_ID", help="An image id or its beginning, or the end of a path."
        ),
    ],
    object_id: Annotated[int | None, typer.Argument(metavar="[OBJECT_ID]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say where every part of an annotation came from: which models, scores, rules and options."""
    from grand_pipeline import explain as explain_module

    story = explain_module.explain(Run.open(run), image, object_id)
    if as_json:
        print_json(story.json())
    else:
        explain_module.tell(story, console())


def stats(run: RunArgument, as_json: JsonOption = False) -> None:
    """Counts and distributions of a run."""
    from grand_pipeline import stats as statistics

    opened = Run.open(run)
    report = statistics.stats(opened.annotations(), opened.images())
    if as_json:
        print_json(report)
    else:
        echo(statistics.text(report))


def doctor(
    vllm: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also check this environment for the option `vllm`."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what works on this machine and what does not, with the remedy."""
    from grand_pipeline import doctor as doctor_module

    checks = doctor_module.checks(vllm=vllm)
    if as_json:
        print_json([{k: getattr(c, k) for k in ("name", "ok", "detail", "remedy")} for c in checks])
        return
    echo(doctor_module.text(checks))
