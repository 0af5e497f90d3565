"""Commands that train on a run and measure what was trained; the recipes do the work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from grand_pipeline import disk
from grand_pipeline.cli.options import AddressOption, JsonOption, echo, print_json
from grand_pipeline.errors import UserError
from training import catalog

CONFIG = "config.json"
DataOption = Annotated[str, typer.Option("--data", metavar="RUN", help="A run directory.")]


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help=f"One of: {', '.join(catalog.RECIPES)}.")
    ],
    data: DataOption,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the training.")],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Change the configuration: loop.steps=100."),
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="tiny, paper or a TOML file.")
    ] = "tiny",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes of Ray Train; 0 = no Ray. GPUs where there are.")
    ] = 0,
    address: AddressOption = None,
) -> None:
    """Train a model on a run; run it again to go on after an interruption.

    Under torchrun (`torchrun --nproc-per-node 8 --no-python grand train ...`) its processes train
    together.
    """
    from training.config import load

    module = catalog.recipe(recipe)
    run = data if "://" in data else str(Path(data).resolve())
    places = (f"data={json.dumps(run)}", f"out={json.dumps(str(out.resolve()))}")
    asked = load(module.Config, recipe, config, [*(assignments or ()), *places])
    if address and not workers:
        raise UserError("--address starts Ray Train there: say with --workers how many processes")
    first = os.environ.get("RANK", "0") == "0"
    with disk.guarded(out):
        if first:
            write_config(out, recipe, asdict(asked))
        if workers:
            from training import ray_train

            ray_train.run(recipe, asked, workers=workers, address=address)
        else:
            module.main(asked)
    if first:
        echo(f"{recipe} is trained in {out}; `grand eval {recipe} --checkpoint {out}` scores it")


def write_config(out: Path, recipe: str, asked: dict[str, Any]) -> None:
    """Put what is asked into the folder of a training.

    Raises UserError when the folder holds a training that was asked something else; settings that
    do not change what is learned may change.
    """
    from training.checkpoint import complete, replace_text

    path, wanted = out / CONFIG, {"recipe": recipe, **json.loads(json.dumps(asked))}
    if path.is_file() and complete(out):
        before, now = (_learned(facts) for facts in (json.loads(path.read_text("utf-8")), wanted))
        odd = [key for key in sorted(before | now) if before.get(key) != now.get(key)]
        if odd:
            said = ", ".join(f"{key} {before.get(key)} -> {now.get(key)}" for key in odd)
            raise UserError(
                f"the training in {out} was begun otherwise ({said}); "
                "use another folder, or delete that one to train from nothing"
            )
    out.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(wanted, indent=2) + "\n")


def _learned(facts: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings by dotted names, without those that do not change what is learned."""
    from training.state import OPERATIONAL

    free = {f"loop.{name}" for name in OPERATIONAL} | {"out", "workers"}
    found: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            found |= _learned(value, f"{prefix}{name}.")
        elif f"{prefix}{name}" not in free:
            found[f"{prefix}{name}"] = value
    return found


def evaluator(recipe: str) -> Callable[..., None]:
    """The command `grand eval RECIPE`."""

    def command(
        data: DataOption,
        checkpoint: Annotated[Path, typer.Option(metavar="DIR", help="Folder of a training.")],
        out: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Pictures. Default: CHECKPOINT/eval.")
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        pictures = out or checkpoint / "eval"
        scores: dict[str, float] = catalog.recipe(recipe).evaluate(checkpoint, data, pictures)
        if as_json:
            print_json(scores)
            return
        width = max(map(len, scores), default=0)
        for name, value in scores.items():
            echo(f"{name:{width}} {value:.4g}")
        echo(f"pictures in {pictures}")

    command.__doc__ = f"Measure a trained {recipe} on a run, and draw what it says."
    return command
