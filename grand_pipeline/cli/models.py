"""Commands about models: which are known, which are here, and fetching what is not: models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from grand_pipeline import footprint, presence, settings
from grand_pipeline.cli.options import (
    JsonOption,
    PresetOption,
    SetOption,
    console,
    echo,
    print_json,
)
from grand_pipeline.cli.run import DEFAULT_PRESET
from grand_pipeline.errors import MissingDependencyError, UserError
from grand_pipeline.presence import Presence
from grand_pipeline.zoo import MODELS, Model, query
from grand_pipeline.zoo.page import size

app = typer.Typer(no_args_is_help=True, help="Models: what is known, what is here, fetching.")


@app.command("list")
def list_command(
    preset: PresetOption = None,
    role: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Only roles with these words in them.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the published models that are known by what they do, or those of a preset by stage."""
    if preset is None:
        rows = query.of_role(role) if role else MODELS
    elif role is None:
        rows = _rows(preset)
    else:
        raise UserError("name a preset or a role, not both")
    if as_json:
        print_json([{**vars(row), "disk": query.disk(row)} for row in rows])
        return
    head = "role" if preset is None else "stages"
    table = Table(head, "name", "model", "licence", "parameters", "disk", "verified")
    for row in rows:
        table.add_row(*_cells(row))
    _print(table)


@app.command("check")
def check_command(
    preset: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A preset or a TOML file.")
    ] = DEFAULT_PRESET,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of every model of a preset whether it is here; exit with 2 when one is not."""
    found = [presence.look(model, keys) for model, keys in _needs(preset, set_).items()]
    if as_json:
        print_json([vars(one) for one in found])
    else:
        table = Table("", "model", "size", "revision", "where, or what to do", "stages")
        for one in found:
            table.add_row(*_answer(one), "\n".join(one.stages))
        _print(table)
    missing = [one for one in found if not one.here]
    if missing:
        fetchable = sum(one.fetchable for one in missing)
        command = presence.pull_command([f"--preset {preset}"])
        hint = f"; `{command}` fetches {fetchable} of them" if fetchable else ""
        raise MissingDependencyError(f"{len(missing)} of {len(found)} models are not here{hint}")


@app.command("pull")
def pull_command(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="As presets name them.")
    ] = None,
    preset: PresetOption = None,
    set_: SetOption = None,
) -> None:
    """Fetch models, or go on with it, and note the commit that builds take from then on."""
    from grand_pipeline import fetch

    wanted = [*(models or ()), *(_needs(preset, set_) if preset else ())]
    if not wanted:
        raise UserError("name models, or all of a preset with --preset NAME")
    by = fetch.fetcher(echo)
    fetch.check_reachable(wanted, by)
    failures: list[str] = []
    for model in dict.fromkeys(wanted):
        found = presence.look(model)
        if found.here and found.kind != "hub":
            echo(f"{model}: here, {size(found.bytes)} in {found.detail}")
            continue
        try:
            fetch.pull(model, by)
        except MissingDependencyError as error:
            failures.append(str(error))
            echo(f"{model}: not fetched", err=True)
    if failures:
        raise MissingDependencyError("\n".join(failures))


@app.command("vllm-env")
def vllm_env_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one begun.")],
    cpu: Annotated[bool, typer.Option("--cpu", help="For machines without GPU.")] = False,
) -> None:
    """Make an environment with vLLM for the option `vllm`, or finish one; several gigabytes."""
    from grand_pipeline import vllm_env

    found = vllm_env.make(folder, cpu, echo)
    echo(f"vLLM {found} in {folder}; use it with --set STAGE.vllm={folder.absolute()}")


def _needs(preset: str, assignments: list[str] | None) -> dict[str, tuple[str, ...]]:
    chosen = settings.override(settings.load_preset(preset), assignments or [])
    return presence.needs(settings.stages(chosen))


def _rows(preset: str) -> tuple[Model, ...]:
    """What is known of a preset's models, with their stages for a role."""
    stages = settings.stages(settings.load_preset(preset))
    prints = {one.model: one for one in footprint.footprints(stages)}
    return tuple(_row(prints[model], keys) for model, keys in presence.needs(stages).items())


def _row(known: footprint.Footprint, stages: tuple[str, ...]) -> Model:
    ours = known.model.startswith("embedded:")
    row = query.known(known.model) or Model(
        "",
        "",
        known.model,
        known.licence or "?",
        known.parameters,
        "trained and measured here: see the model card" if ours else "",
        stored=None if known.disk_gb is None else round(known.disk_gb * 1e9),
    )
    return replace(row, role=", ".join(stages))


def _cells(row: Model) -> tuple[str, ...]:
    parameters = f"{row.parameters / 1e6:,.0f} M" if row.parameters else "?"
    disk = size(total) if (total := query.disk(row)) else "?"
    return row.role, row.name, row.hub_id, row.licence, parameters, disk, row.verified


def _answer(one: Presence) -> tuple[str, ...]:
    where = one.detail if one.here else f"{one.detail}\n-> {one.remedy}"
    mark = "ok" if one.here else "NO"
    row = query.known(one.model)
    total = query.disk(row) if row else None
    about = f"about {size(total)}" if total else "?"
    amount = size(one.bytes) if one.here else about
    return mark, one.model, amount, (one.revision or "")[:12], where


def _print(table: Table) -> None:
    for column in table.columns:
        column.overflow = "fold"
    console().print(table)
