"""Commands that measure a run against a truth, and the rendered world that has one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grand_pipeline import disk
from grand_pipeline.cli.options import JsonOption, Place, RunOption, echo, place, print_json
from grand_pipeline.store import Run

TruthOption = Annotated[Place, typer.Option(metavar="RUN", parser=place, help="The true run.")]


def render_command(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many scenes.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
    held_out: Annotated[
        bool, typer.Option(help="Also draw colour-object pairs kept out of training.")
    ] = True,
) -> None:
    """Render scenes with exact truth: DIR/images and the truth run DIR/truth."""
    from grand_pipeline.picturebook.truth import render_dataset

    with disk.guarded(out):
        render_dataset(out, n, seed, held_out=held_out)
    echo(f"{n} scenes in {out / 'images'}, truth run in {out / 'truth'}")


def eval_labels(
    run: RunOption,
    truth: TruthOption,
    compare: Annotated[
        Place | None,
        typer.Option(metavar="RUN", parser=place, help="Another run to set beside the first."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a run with a truth run, joined on image_id."""
    from grand_pipeline import evaluation

    true = Run.open(truth)
    report = evaluation.evaluate_runs(Run.open(run), true)
    if compare is None:
        if as_json:
            print_json(report)
        else:
            echo(evaluation.text(report))
        return
    other = evaluation.evaluate_runs(Run.open(compare), true)
    if as_json:
        gaps = evaluation.differences(report, other)
        print_json({"run": report, "compare": other, "difference": gaps})
    else:
        names = (run.resolve().name, compare.resolve().name)
        echo(evaluation.compared(report, other, names))


def eval_failures(
    run: RunOption,
    truth: TruthOption,
    as_json: JsonOption = False,
) -> None:
    """List what went wrong by kind: how often, in how many images, and where."""
    from grand_pipeline.evaluation import failures

    found, pairs = failures.of_runs(Run.open(run), Run.open(truth))
    if as_json:
        print_json(failures.rows(found, pairs))
    else:
        echo(failures.text(found, pairs))
