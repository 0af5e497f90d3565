"""Run a study; run it again to go on where it stopped.

    python -m training.studies xvlm --data produced=RUN --data truth=RUN --unseen RUN --out DIR

Every arm is trained with every seed by `grand train` and measured by `grand eval`, in processes of
their own. Results go to docs/experiments/<study>.json, which `make docs` makes a page of.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer

from grand_pipeline.errors import UserError
from training.checkpoint import replace_text
from training.studies import definition
from training.studies.definition import Arm, Study, Trial

_GRAND = (sys.executable, "-c", "from grand_pipeline.cli import main; main()")
_TRIAL = "trial.json"


def main(
    name: Annotated[str, typer.Argument(metavar="STUDY", help=", ".join(definition.names()))],
    out: Annotated[Path, typer.Option(help="Folder of the trainings.")],
    unseen: Annotated[Path, typer.Option(help="Run whose rows are the truth of unseen images.")],
    data: Annotated[list[str], typer.Option(metavar="NAME=RUN", help="A run to learn from.")],
    seeds: Annotated[int, typer.Option(help="Trainings of every arm.")] = 3,
    jobs: Annotated[int, typer.Option(help="Trainings at the same time, a thread each.")] = 2,
) -> None:
    """Train all arms of a study, and write what they come to."""
    asked = definition.study(name)
    runs = dict(text.split("=", 1) for text in data if "=" in text)
    if missing := sorted({arm.data for arm in asked.arms} - set(runs)):
        raise UserError(f"study '{name}' learns from '{missing[0]}': give --data {missing[0]}=RUN")
    # By seeds first: what is there after an interruption compares all arms.
    todo = [(arm, seed) for seed in range(seeds) for arm in asked.arms]
    path = definition.RESULTS / f"{name}.json"
    with ThreadPoolExecutor(jobs) as pool:
        trials = [pool.submit(_trial, asked, runs, unseen, out, *one) for one in todo]
        for trial in as_completed(trials):
            trial.result()
            write(name, asked, seeds, out, path)
    print(f"{len(todo)} trainings in {path}; `make docs` writes the page")


def write(name: str, study: Study, seeds: int, out: Path, path: Path) -> None:
    """Write what the trainings in `out` have come to so far."""
    places = [
        (arm.name, seed, _place(out, arm, seed) / _TRIAL)
        for seed in range(seeds)
        for arm in study.arms
    ]
    found = [
        Trial(arm, seed, **json.loads(file.read_text("utf-8")))
        for arm, seed, file in places
        if file.is_file()
    ]
    replace_text(path, definition.as_json(found, {"study": name}))


def _place(out: Path, arm: Arm, seed: int) -> Path:
    return out / arm.name.replace(" ", "-") / f"seed-{seed}"


def _trial(
    study: Study, runs: Mapping[str, str], unseen: Path, out: Path, arm: Arm, seed: int
) -> None:
    """Train one arm with one seed and measure it, unless that was done before."""
    place = _place(out, arm, seed)
    done = place / _TRIAL
    if not done.is_file():
        settings = (*study.set, *arm.set, f"loop.seed={seed}")
        train = ("train", study.recipe, "--data", runs[arm.data], "--out", str(place))
        _, minutes = _run((*train, "--config", study.config, *settings), place)
        measure = ("eval", study.recipe, "--data", str(unseen), "--checkpoint", str(place))
        said, _ = _run((*measure, "--json"), place)
        scores = json.loads(said)
        # An arm may lack what a score is about, as a plain ViT has no groups.
        kept = {name: round(scores[name], 5) for name in study.scores if name in scores}
        replace_text(done, json.dumps({"minutes": round(minutes, 2), "scores": kept}))
        print(f"{arm.name}, seed {seed}, {minutes:.1f} minutes: {kept}", flush=True)


def _run(words: Sequence[str], place: Path) -> tuple[str, float]:
    """What a command prints, and its minutes of processor time, those of its children included.

    Raises UserError with the end of its messages when it fails.
    """
    place.mkdir(parents=True, exist_ok=True)
    log = place / f"{words[0]}.log"
    said = place / f"{words[0]}.out"
    # One thread each: trainings side by side would wait for each other's.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as messages, said.open("w") as answer:
        process = subprocess.Popen(
            [*_GRAND, *words], stdout=answer, stderr=messages, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
    # `os.wait4` has taken the exit status; the object would wait for it again.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{' '.join(words)} failed, see {log}:\n{log.read_text()[-2000:]}")
    return said.read_text(), (usage.ru_utime + usage.ru_stime) / 60


if __name__ == "__main__":
    typer.run(main)
