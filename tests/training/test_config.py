from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from grand_pipeline.errors import SettingsError
from training import config


@dataclass(frozen=True)
class Optimizer:
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)


@dataclass(frozen=True)
class Config:
    steps: int
    init: str = "random"
    variant: Literal["paper", "release"] = "paper"
    optimizer: Optimizer = field(default_factory=Optimizer)
    words: tuple[str, ...] = ()
    most: int | None = None


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_tables_become_dataclasses_and_assignments_reach_into_them(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    name = written(tmp_path, "steps = 5\nwords = 'file:words.txt'\n[optimizer]\nlr = 1\n")
    found = config.load(Config, "xvlm", name)
    assert found == Config(5, optimizer=Optimizer(lr=1.0), words=("cat", "dog"))
    changed = config.load(
        Config,
        "xvlm",
        name,
        ["steps=7", "optimizer.betas=[0.5, 0.6]", "init = some/model", "most=3"],
    )
    assert (changed.steps, changed.init, changed.most) == (7, "some/model", 3)
    assert changed.optimizer == Optimizer(1.0, (0.5, 0.6))


@pytest.mark.parametrize(
    ("text", "assignments", "message"),
    [
        ("", [], r"configuration 'mine' of recipe 'xvlm' needs a value for option 'steps'"),
        ("step = 5", [], r"has no option 'step'\. Did you mean 'steps'\?"),
        ("steps = true", [], r"option 'steps' of .* must be int, not True"),
        ("steps = 5", ["variant=papers"], r"can not be 'papers'\. Did you mean 'paper'\?"),
        (
            "steps = 5",
            ["optimizer.rl=1"],
            r"option 'optimizer' of .* has no option 'rl'\. Available: betas, lr",
        ),
        ("steps = 5", ["steps.x=1"], r"cannot set 'steps\.x': 'steps' is a value, no table"),
        ("steps = 5", ["steps"], r"cannot read 'steps': expected key=value"),
        ("steps = 5", [".x=1"], r"cannot read '\.x=1'"),
        ("steps = ", [], r"mine\.toml' is not valid TOML"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, text: str, assignments: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        config.load(Config, "xvlm", written(tmp_path, text), assignments)


def test_names_of_configurations_are_those_of_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="recipe 'nothing' has no configuration 'tiny'"):
        config.load(Config, "nothing", "tiny")
    with pytest.raises(SettingsError, match="can not be read: No such file"):
        config.load(Config, "xvlm", str(tmp_path / "nothing.toml"))
