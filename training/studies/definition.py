"""What a study asks, a TOML file beside this module, and what it found, JSON in docs/experiments.

A study trains every arm with every seed and measures all of them alike.
"""

from __future__ import annotations

import json
import statistics
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline import fields
from grand_pipeline.errors import SettingsError, suggest

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent.parent / "docs" / "experiments"


@dataclass(frozen=True)
class Arm:
    """One of the trainings: `data` by its name on the command line, and what is `set` otherwise."""

    name: str
    data: str
    set: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A claim: arm `first` has more of `score` than `second`, or at least `ratio` times as much."""

    score: str
    first: str
    second: str
    ratio: float = 1.0


@dataclass(frozen=True)
class Study:
    """`title`; `claim`, what the paper says; `note`, what a reader has to know of this study.

    `recipe`, `config` and `set` are common to all `arms`. Of what an evaluation gives, `scores` are
    kept; `compare` says what is claimed of them.
    """

    title: str
    claim: str
    recipe: str
    scores: tuple[str, ...]
    arms: tuple[Arm, ...]
    compare: tuple[Comparison, ...] = ()
    config: str = "tiny"
    set: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"two arms have the same name: {names}")
        for claim in self.compare:
            if claim.score not in self.scores or {claim.first, claim.second} - set(names):
                raise ValueError(f"no such score or arms to compare: {claim}")


@dataclass(frozen=True)
class Trial:
    """One training: its scores, and the minutes of processor time that it took."""

    arm: str
    seed: int
    minutes: float
    scores: Mapping[str, float]


def names() -> list[str]:
    """Names of all studies."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def study(name: str) -> Study:
    """The study of this name. Raises SettingsError where there is none or it can not be read."""
    if name not in names():
        raise SettingsError(f"no study is called '{name}'.{suggest(name, names())}")
    values = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    return fields.build(Study, values, f"study '{name}'")


def trials(name: str, folder: Path = RESULTS) -> list[Trial]:
    """What a study has found so far; nothing where it was never run."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return []
    return [Trial(**found) for found in json.loads(path.read_text("utf-8"))["trials"]]


def of_arm(found: list[Trial], arm: str, score: str) -> dict[int, float]:
    """Seed -> score of the trials of one arm."""
    return {t.seed: t.scores[score] for t in found if t.arm == arm and score in t.scores}


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; 0 for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def as_json(trials: list[Trial], facts: Mapping[str, Any]) -> str:
    """The text of a file of results."""
    rows = [
        {"arm": t.arm, "seed": t.seed, "minutes": t.minutes, "scores": dict(t.scores)}
        for t in trials
    ]
    return json.dumps({**facts, "trials": rows}, indent=1) + "\n"
