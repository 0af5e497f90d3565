"""Commands that make a run: build, rerun, status, plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from grand_pipeline import accounts, build, estimate, plan_view, settings
from grand_pipeline.cli.options import (
    RUN_HELP,
    AddressOption,
    JsonOption,
    MaxFailedOption,
    Place,
    PresetOption,
    RunArgument,
    RunOption,
    SetOption,
    UntilOption,
    console,
    echo,
    place,
    print_json,
)
from grand_pipeline.errors import UserError
from grand_pipeline.footprint import Footprint
from grand_pipeline.plan import Plan
from grand_pipeline.store import Run
from grand_pipeline.terminal import one_line

DEFAULT_PRESET = "picturebook"

PricedOption = Annotated[
    list[str] | None,
    typer.Option("--images", metavar="DIR|GLOB|URL", help="Say what they will cost."),
]
CountedOption = Annotated[
    Place | None,
    typer.Option(
        "--run", metavar="RUN", parser=place, help="Costs: a run whose texts are counted."
    ),
]
SpeedOption = Annotated[
    float,
    typer.Option("--tokens-per-second", min=0.001, help="Costs: what a stage's model writes."),
]


def build_command(
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="DIR|GLOB|URL",
            help="Images; repeatable. Without them, the run goes on with what it has.",
        ),
    ] = None,
    out: Annotated[Place, typer.Option("--out", metavar="RUN", parser=place, help=RUN_HELP)] = Path(
        "run"
    ),
    preset: PresetOption = None,
    until: UntilOption = None,
    set_: SetOption = None,
    address: AddressOption = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Images per shard.")] = 256,
    max_failed: MaxFailedOption = None,
    embed_images: Annotated[bool, typer.Option(help="Keep the image bytes in the run.")] = False,
) -> None:
    """Annotate a folder of images; what is already done is kept."""
    asked = images or []
    chosen = settings.override(_preset(preset, asked, out), set_ or [])
    job = build.Job(out, chosen, asked, until, shard_size, embed_images, address, max_failed)
    build.checked_plan(replace(job, preset=build.with_imported(chosen, out)))
    if preset is None and asked and not build.holds_imports(out):
        _refuse_photographs(asked)
    watched(lambda watch: build.build(job, watch))
    _summary(Run.open(out))


def rerun(
    run: RunOption,
    stage: Annotated[
        str | None,
        typer.Argument(metavar="STAGE", help="Stage key, for example open_detection.owl_vit."),
    ] = None,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed", help="Only the images that the stage, or without one any stage, failed on."
        ),
    ] = False,
    set_: SetOption = None,
    address: AddressOption = None,
    max_failed: MaxFailedOption = None,
) -> None:
    """Compute a stage and its descendants again, and nothing else."""
    opened = Run.open(run)
    if stage is None and not failed:
        raise UserError("name the stage to compute again, or say --failed for all failed images")
    recorded, until = build.recorded_preset(opened)
    chosen = settings.override(recorded, set_ or [])
    job = build.Job(run, chosen, until=until, address=address, max_failed=max_failed)

    def work(watch: build.Watcher) -> Run:
        if stage is None or failed:
            return build.rerun_failed(opened, stage, job, watch)
        return build.rerun(opened, stage, job, watch)

    watched(work)
    _summary(opened)


def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """What is done, stale, missing and failed, and why."""
    opened = Run.open(run)
    report = build.status(opened)
    departed = list(accounts.departed(opened))
    if as_json:
        gone = [{"uri": uri, "what": what} for uri, what in departed]
        print_json(report | {"departed": gone})
        return
    table = Table("stage", "done", "stale", "missing", "failed images", title=escape(str(run)))
    for key, counts in report["stages"].items():
        states = ("done", "stale", "missing", "failed")
        table.add_row(key, *(str(counts[state]) for state in states))
    console().print(table)
    echo(", ".join(f"{report[name]} {name}" for name in accounts.HEADINGS))
    for key, counts in report["stages"].items():
        for reason in counts.get("why", []):
            echo(one_line(f"stale: {key}: {reason}"))
    read_since = accounts.healed(opened)
    for row in opened.images():
        if row.error is not None and row.image_id not in read_since:
            echo(one_line(f"unreadable: {row.uri}: {row.error}"))
    for uri, what in departed:
        echo(one_line(f"departed: {uri}: {what}"))
    plan = build.resolved_plan(*build.recorded_preset(opened))
    for key, failures in build.failed_images(opened, plan).items():
        for image_id, message in failures.items():
            echo(one_line(f"failed: {key}: {image_id}: {message}"))


def plan(
    preset: Annotated[str, typer.Option(help="A preset or a TOML file.")] = DEFAULT_PRESET,
    until: UntilOption = None,
    set_: SetOption = None,
    dot: Annotated[bool, typer.Option("--dot", help="Print Graphviz source.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print Mermaid source.")] = False,
    images: PricedOption = None,
    run: CountedOption = None,
    speed: SpeedOption = 1000.0,
    as_json: JsonOption = False,
) -> None:
    """Show the derived DAG: columns, models and resources of every stage, and what the models ask
    for: licence, disk, memory of a GPU. With images, what language models will cost."""
    chosen = settings.override(settings.load_preset(preset), set_ or [])
    resolved = build.resolved_plan(chosen, until)
    if dot or mermaid:
        echo(plan_view.dot(resolved) if dot else plan_view.mermaid(resolved))
        return
    cost = estimate.report(resolved, images, speed, run) if images else None
    if as_json:
        report = plan_view.report(resolved)
        instead = [asdict(one) for one in chosen.substitutions]
        report |= {"preset": chosen.name, "substitutions": instead}
        print_json(report if cost is None else report | {"cost": cost})
        return
    _print_steps(chosen.name, resolved)
    _print_models(plan_view.models(resolved), chosen.substitutions)
    if cost is not None:
        _print_costs(cost)


def _print_steps(title: str, resolved: Plan) -> None:
    table = Table("level", "stage", "reads", "writes", "models", "cpus", "gpus", title=title)
    for row in plan_view.rows(resolved):
        table.add_row(*(_cell(row[str(column.header)]) for column in table.columns))
    for column in table.columns:
        column.overflow = "fold"
    console().print(table)


def _print_costs(report: dict[str, Any]) -> None:
    title = f"language models, {report['images']} images"
    table = Table("stage", "model", "prompts", "tokens in", "tokens out", "time", title=title)
    for row in report["stages"]:
        totals = (
            f"{row[f'tokens_{way}']:,} ({row[f'tokens_{way}_mean']:g} each)"
            for way in ("in", "out")
        )
        time = estimate.duration(row["seconds"])
        table.add_row(row["stage"], row["model"], f"{row['prompts']:,}", *totals, time)
    terminal = console()
    terminal.print(table)
    for row in report["stages"]:
        terminal.print(f"{row['stage']}: {row['basis']}", markup=False)
    terminal.print(report["remark"], markup=False)


def _print_models(
    models: Sequence[Footprint], substitutions: Sequence[settings.Substitution]
) -> None:
    """What the models ask for, and which ones stand in for others."""
    table = Table(*plan_view.MODEL_COLUMNS, title="models")
    for model in models:
        table.add_row(*plan_view.model_row(model))
    for column in table.columns:
        column.overflow = "fold"
    terminal = console()
    terminal.print(table)
    for line in plan_view.model_remarks(models):
        terminal.print(line, markup=False)
    if substitutions:
        table = Table("model", "instead", "reason", title="substitutions")
        for one in substitutions:
            table.add_row(*map(escape, (one.model, one.by or "nothing", one.reason)))
        terminal.print(table)


def _preset(name: str | None, images: Sequence[str], out: Place) -> settings.Preset:
    """The preset named, else the one the run goes on with, else the default."""
    if name is not None:
        return settings.load_preset(name)
    if images and not build.holds_imports(out):
        return settings.load_preset(DEFAULT_PRESET)
    if not (out / "run.json").exists():
        raise UserError(f"'{out}' is no run to go on with; name the images with --images")
    return build.recorded_preset(Run.open(out))[0]


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


def watched(work: Callable[[build.Watcher], object]) -> None:
    """Do `work` under a live display of its progress."""
    from grand_pipeline.progress import Progress

    with Progress() as progress:
        work(build.Watcher(progress.phase, progress.begin, progress.report))


def _summary(run: Run) -> None:
    report = build.status(run)
    counts = ", ".join(f"{report[name]} {name}" for name in accounts.HEADINGS)
    echo(f"{run.root}: {counts}")
    preset, _ = build.recorded_preset(run)
    if preset.description:
        echo(f"preset {preset.name}: {preset.description}")


def _cell(value: object) -> str:
    return "\n".join(value) if isinstance(value, list) else str(value)
