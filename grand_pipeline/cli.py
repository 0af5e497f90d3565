"""The `grand` command: the only file that sees every layer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table

from grand_pipeline import __version__, build, plan_view, settings
from grand_pipeline.errors import GrandError, UserError
from grand_pipeline.store import Run

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
picturebook_app = typer.Typer(no_args_is_help=True, help="The rendered world with exact truth.")
eval_app = typer.Typer(no_args_is_help=True, help="Measure a run.")
app.add_typer(picturebook_app, name="picturebook")
app.add_typer(eval_app, name="eval")

DEFAULT_PRESET = "picturebook"

# ClickException. Newer versions of typer carry a click of their own, older ones import it.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

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


@app.command("build")
def build_command(
    images: Annotated[
        list[str], typer.Option("--images", metavar="DIR|GLOB|URL", help="Images; repeatable.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run directory.")] = Path("run"),
    preset: PresetOption = None,
    until: UntilOption = None,
    set_: SetOption = None,
    address: AddressOption = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Images per shard.")] = 256,
    max_failed: MaxFailedOption = None,
    embed_images: Annotated[bool, typer.Option(help="Keep the image bytes in the run.")] = False,
) -> None:
    """Annotate a folder of images; what is already done is kept."""
    chosen = settings.override(settings.load_preset(preset or DEFAULT_PRESET), set_ or [])
    build.resolved_plan(chosen, until)
    if preset is None:
        _refuse_photographs(images)
    job = build.Job(out, chosen, images, until, shard_size, embed_images, address, max_failed)
    _watched(lambda watch: build.build(job, watch))
    _summary(Run.open(out))


@app.command()
def rerun(
    stage: Annotated[str, typer.Argument(help="Stage key, for example open_detection.owl_vit.")],
    run: RunOption,
    set_: SetOption = None,
    address: AddressOption = None,
    max_failed: MaxFailedOption = None,
) -> None:
    """Compute a stage and its descendants again, and nothing else."""
    opened = Run.open(run)
    recorded, until = build.recorded_preset(opened)
    chosen = settings.override(recorded, set_ or [])
    job = build.Job(run, chosen, until=until, address=address, max_failed=max_failed)
    _watched(lambda watch: build.rerun(opened, stage, job, watch))
    _summary(opened)


@app.command()
def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """What is done, stale, missing and failed, and why."""
    opened = Run.open(run)
    report = build.status(opened)
    if as_json:
        _print_json(report)
        return
    table = Table("stage", "done", "stale", "missing", "failed images", title=str(run))
    for key, counts in report["stages"].items():
        states = ("done", "stale", "missing", "failed")
        table.add_row(key, *(str(counts[state]) for state in states))
    console = _console()
    console.print(table)
    names = ("found", "annotated", "failed", "duplicate", "unreadable")
    console.print(", ".join(f"{report[name]} {name}" for name in names))
    for key, counts in report["stages"].items():
        for reason in counts.get("why", []):
            console.print(f"stale: {key}: {reason}", markup=False)
    for row in opened.images():
        if row.error is not None:
            console.print(f"unreadable: {row.uri}: {row.error}", markup=False)
    plan = build.resolved_plan(*build.recorded_preset(opened))
    for key, failures in build.failed_images(opened, plan).items():
        for image_id, message in failures.items():
            console.print(f"failed: {key}: {image_id}: {message}", markup=False)


@app.command()
def plan(
    preset: Annotated[str, typer.Option(help="A preset or a TOML file.")] = DEFAULT_PRESET,
    until: UntilOption = None,
    set_: SetOption = None,
    dot: Annotated[bool, typer.Option("--dot", help="Print Graphviz source.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print Mermaid source.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the derived DAG: columns, models and resources of every stage."""
    chosen = settings.override(settings.load_preset(preset), set_ or [])
    resolved = build.resolved_plan(chosen, until)
    if dot or mermaid:
        typer.echo(plan_view.dot(resolved) if dot else plan_view.mermaid(resolved))
        return
    rows = plan_view.rows(resolved)
    if as_json:
        _print_json({"preset": chosen.name, "stages": rows})
        return
    table = Table("level", "stage", "reads", "writes", "models", "cpus", "gpus", title=chosen.name)
    for row in rows:
        table.add_row(*(_cell(row[str(column.header)]) for column in table.columns))
    for column in table.columns:
        column.overflow = "fold"
    _console().print(table)


@app.command()
def show(
    run: RunArgument,
    image_ids: Annotated[list[str] | None, typer.Argument(metavar="[IMAGE_ID]...")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: RUN/show.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many pictures.")] = 100,
) -> None:
    """Write one annotated PNG per image and a contact sheet."""
    from grand_pipeline.show import show as draw_run

    folder = out or run / "show"
    written = draw_run(Run.open(run), folder, image_ids or None, limit)
    typer.echo(f"{len(written)} pictures in {folder}")


@app.command()
def stats(run: RunArgument, as_json: JsonOption = False) -> None:
    """Counts and distributions of a run."""
    from grand_pipeline import stats as statistics

    opened = Run.open(run)
    report = statistics.stats(opened.annotations(), opened.images())
    if as_json:
        _print_json(report)
    else:
        typer.echo(statistics.text(report))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what works on this machine and what does not, with the remedy."""
    from grand_pipeline import doctor as doctor_module

    checks = doctor_module.checks()
    if as_json:
        _print_json(
            [{k: getattr(c, k) for k in ("name", "ok", "detail", "remedy")} for c in checks]
        )
        return
    typer.echo(doctor_module.text(checks))


@picturebook_app.command("render")
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

    render_dataset(out, n, seed, held_out=held_out)
    typer.echo(f"{n} scenes in {out / 'images'}, truth run in {out / 'truth'}")


@eval_app.command("labels")
def eval_labels(
    run: RunOption,
    truth: Annotated[Path, typer.Option(metavar="RUN", help="Run directory of the truth.")],
    as_json: JsonOption = False,
) -> None:
    """Compare a run with a truth run, joined on image_id."""
    from grand_pipeline import evaluation

    report = evaluation.evaluate_runs(Run.open(run), Run.open(truth))
    if as_json:
        _print_json(report)
    else:
        typer.echo(evaluation.text(report))


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Turn a folder of images into a grounded, richly annotated dataset."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. A user's mistake is one message on stderr and exit code 2, no traceback."""
    try:
        app(args=arguments, standalone_mode=False)
    except GrandError as error:
        typer.echo(f"grand: {error}", err=True)
        sys.exit(error.exit_code)
    except _UsageError as error:
        error.show()
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("grand: stopped; what was committed is kept, run again to go on", err=True)
        sys.exit(130)


def _refuse_photographs(images: Sequence[str]) -> None:
    from grand_pipeline import ingest, novelty

    verdict = novelty.looks_like_picturebook(ingest.sample(images))
    if not verdict.ok:
        raise UserError(
            f"these images are not picture-book scenes ({verdict.describe()}), and no --preset was "
            f"given. The default preset '{DEFAULT_PRESET}' knows only the rendered picture-book "
            "world. For photographs name a preset or a TOML file of your own with --preset; to "
            f"run the embedded models all the same say --preset {DEFAULT_PRESET}. Presets: "
            f"{', '.join(settings.preset_names())}."
        )


def _watched(work: Callable[[build.Watcher], object]) -> None:
    from grand_pipeline.progress import Progress

    with Progress() as progress:
        work(build.Watcher(progress.phase, progress.begin, progress.report))


def _summary(run: Run) -> None:
    report = build.status(run)
    names = ("found", "annotated", "failed", "duplicate", "unreadable")
    typer.echo(f"{run.root}: " + ", ".join(f"{report[name]} {name}" for name in names))
    preset, _ = build.recorded_preset(run)
    if preset.description:
        typer.echo(f"preset {preset.name}: {preset.description}")


def _console() -> Console:
    """A pipe has no width of its own; names must not be cut for it."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def _cell(value: object) -> str:
    return "\n".join(value) if isinstance(value, list) else str(value)


def _print_json(report: object) -> None:
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
