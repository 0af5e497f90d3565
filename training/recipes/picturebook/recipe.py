"""What every recipe is, and what running one means: train, score, export.

A recipe is data: the phases of its training with their budgets in steps, and functions that make
the model, its batches, its loss and its scores. `main` trains it from nothing, goes on where a
killed run stopped, and does nothing once all is done. A run is a folder with one sub-folder of
state per phase; each phase starts from the averaged weights of the one before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grand_pipeline import heap
from training.distributed import default_device
from training.recipes.picturebook import export
from training.recipes.picturebook.fit import fit
from training.recipes.picturebook.state import Progress, Schedule, finished, restore

MODULES = "training.recipes.picturebook"


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: its schedule, and whether the vision tower stays as it is."""

    name: str
    schedule: Schedule
    frozen: bool = False


@dataclass(frozen=True)
class Recipe:
    """How one checkpoint is made.

    `model(phase)` is a new model, seeded before the call. `batch(step, phase, run)` is what step
    `step` learns from; steps are counted over all phases, and `run` is a folder for what is worth
    keeping (rendered scenes). `exported(model)` is the part that ships. `start(model, folder)`
    takes over weights of the exported detector in `folder`.
    """

    name: str
    module: str
    phases: tuple[Phase, ...]
    model: Callable[[Phase], nn.Module]
    batch: Callable[[int, Phase, Path], Any]
    loss: Callable[[nn.Module, Any], dict[str, Tensor]]
    exported: Callable[[Any], Any]
    processor: Callable[[], Any]
    score: Callable[[Any, int], dict[str, float]]
    start: Callable[[Any, Path], None] | None = None
    cases: int = 200  # unseen scenes (or graphs) of the scores
    eval_every: int = 0  # steps between scores on a few cases in the log; 0 = none
    sees_images: bool = True


@dataclass(frozen=True)
class Options:
    """One call of a recipe."""

    out: Path
    export: Path | None
    export_only: bool
    scale: float
    device: str
    trunk: Path | None = None
    warm: Path | None = None


def main(recipes: Sequence[Recipe], description: str, arguments: Sequence[str] | None) -> None:
    """The command line of a module: run the one of its recipes that is named."""
    parser = option_parser(description)
    named = {recipe.name: recipe for recipe in recipes}
    if len(named) > 1:
        parser.add_argument("checkpoint", choices=sorted(named))
    if any(recipe.start for recipe in recipes):
        parser.add_argument(
            "--trunk", type=Path, help="exported detector whose weights it starts from"
        )
    parser.add_argument(
        "--warm", type=Path, help="exported checkpoint to go on from: the last phase alone"
    )
    given = vars(parser.parse_args(arguments))
    recipe = named[given.pop("checkpoint", recipes[0].name)]
    run(recipe, Options(**given))


def option_parser(description: str) -> argparse.ArgumentParser:
    """The options that every recipe has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--export", type=Path, help="folder for the checkpoint (float16)")
    parser.add_argument("--export-only", action="store_true", help="export the last saved state")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all budgets, for trials: 0.01 = a hundredth"
    )
    parser.add_argument(
        "--device", default=default_device(), help="default: a GPU, if there is one"
    )
    return parser


def run(recipe: Recipe, options: Options) -> None:
    """Train what is not trained yet, score it and export it."""
    heap.keep()
    recipe = scale(recipe, options)
    if export.is_done(options.out, options.export, phases(recipe)):
        print(f"{recipe.name}: nothing to do; {options.out} is trained and exported")
        return
    if options.device == "cpu":
        export.one_thread()
    model, progress = train(recipe, options)
    if options.export is None:
        return
    part = recipe.exported(model.cpu().eval())
    scores = recipe.score(part, recipe.cases)
    print(json.dumps(scores, indent=2), flush=True)
    facts = record(recipe, options, progress, scores)
    logs = {p.name: options.out / p.name for p in recipe.phases}
    export.checkpoint(part, recipe.processor(), options.export, facts, logs)
    export.mark_done(options.out, facts)


def scale(recipe: Recipe, options: Options) -> Recipe:
    """The recipe with all budgets times `--scale`; with `--warm` only its last phase."""
    kept = recipe.phases[-1:] if options.warm else recipe.phases
    short = tuple(
        replace(p, schedule=replace(p.schedule, steps=scaled(p.schedule.steps, options.scale)))
        for p in kept
    )
    return replace(recipe, phases=short, cases=scaled(recipe.cases, min(1.0, options.scale), 8))


def scaled(count: int, factor: float, least: int = 2) -> int:
    """A budget times a factor."""
    return max(least, round(count * factor))


def train(recipe: Recipe, options: Options) -> tuple[nn.Module, Progress]:
    """The model after its last phase, and what all phases together took."""
    total, model = Progress(), nn.Module()
    for place, phase in enumerate(recipe.phases):
        folder = options.out / phase.name
        torch.manual_seed(phase.schedule.seed)
        model = recipe.model(phase)
        if not options.export_only and not finished(phase.schedule, folder):
            _start(model, recipe, place, options)
            _fit(model, recipe, place, options)
        done = restore(model, folder)
        total = Progress(total.step + done.step, total.seconds + done.seconds)
    return model, total


def _start(model: nn.Module, recipe: Recipe, place: int, options: Options) -> None:
    """First weights of a phase; those of a saved state, if there is one, replace them later."""
    if place:
        restore(model, options.out / recipe.phases[place - 1].name)
    elif options.warm:
        export.load_checkpoint(recipe.exported(model), options.warm)
    elif options.trunk and recipe.start:
        recipe.start(model, options.trunk)


def _fit(model: nn.Module, recipe: Recipe, place: int, options: Options) -> None:
    phase = recipe.phases[place]
    before = sum(p.schedule.steps for p in recipe.phases[:place])

    def batch(step: int) -> Any:
        return recipe.batch(before + step, phase, options.out)

    def evaluate(judged: nn.Module) -> dict[str, float]:
        return recipe.score(recipe.exported(judged), min(recipe.cases, 24))

    print(f"{recipe.name}: phase {phase.name}, {phase.schedule.steps} steps", flush=True)
    fit(
        model,
        batch,
        recipe.loss,
        phase.schedule,
        options.out / phase.name,
        device=options.device,
        evaluate=evaluate,
        eval_every=recipe.eval_every,
    )


def record(
    recipe: Recipe, options: Options, progress: Progress, scores: Mapping[str, float]
) -> dict[str, Any]:
    """What `training.json` beside a checkpoint says: how it was made and what it scored.

    With `--warm` it goes on from that checkpoint's record: commands in their order, steps, images
    and minutes as sums.
    """
    size = recipe.phases[0].schedule.batch_size
    facts: dict[str, Any] = {"commands": [command(recipe, options)]}
    facts |= {"seed": recipe.phases[0].schedule.seed, "steps": progress.step}
    facts |= {"images": progress.step * size} if recipe.sees_images else {}
    facts |= {"minutes": round(progress.seconds / 60, 1)}
    if options.warm:
        before = json.loads((options.warm / export.RECORD).read_text())
        facts |= {name: before[name] + value for name, value in facts.items() if name != "seed"}
    return facts | {
        "machine": export.machine(options.device),
        "phases": phases(recipe),
        "scores": {name: round(value, 4) for name, value in scores.items()},
    }


def phases(recipe: Recipe) -> list[dict[str, Any]]:
    """The phases as `training.json` holds them."""
    return [{"name": p.name, "frozen": p.frozen, **asdict(p.schedule)} for p in recipe.phases]


def command(recipe: Recipe, options: Options) -> str:
    """The call that makes the checkpoint again, with OUT for its folders."""
    parts = [f"python -m {MODULES}.{recipe.module}", "--out RUN --export DIR"]
    parts += ["--trunk DETECTOR"] if options.trunk and not options.warm else []
    parts += ["--warm DIR"] if options.warm else []
    parts += [f"--scale {options.scale:g}"] if options.scale != 1 else []
    return " ".join(parts)
