"""`grand train` and `grand eval RECIPE`, with a recipe in miniature."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import pytest
import typer

from grand_pipeline import cli
from grand_pipeline.cli.train import evaluator
from tests.training import toy
from training import catalog
from training.config import load, names
from training.logs import read

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    catalog.RECIPES["toy"] = "tests.training.toy"
    yield
    del catalog.RECIPES["toy"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(
        "rows = 8\n[loop]\nsteps = 4\nlog_every = 1\nsave_every = 2\nbf16 = false\n"
        "[optimizer]\nlr = 0.05\n"
    )
    return path


def grand(*words: object) -> int:
    try:
        cli.main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_training_is_started_gone_on_with_and_written_down(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "toy", "--data", tmp_path, "--out", tmp_path / "out", "--config", config)
    assert grand(*words, "loop.steps=3") == 0
    assert [row["step"] for row in read(tmp_path / "out" / "log.jsonl")] == [1, 2, 3]
    held = json.loads((tmp_path / "out" / "config.json").read_text())
    assert held["recipe"] == "toy" and held["loop"]["steps"] == 3 and held["rows"] == 8
    assert held["data"] == str(tmp_path) and (tmp_path / "out" / "loss.svg").is_file()
    assert "toy is trained in" in capsys.readouterr().out
    assert grand(*words, "loop.steps=3", "loop.log_every=2") == 0
    assert "going on at step 3" in capsys.readouterr().out


def test_a_training_that_was_asked_otherwise_is_left_alone(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "toy", "--data", tmp_path, "--out", tmp_path / "out", "--config", config)
    assert grand(*words) == 0
    before = (tmp_path / "out" / "config.json").read_bytes()
    assert grand(*words, "loop.steps=9", "contrastive=true") == 2
    said = capsys.readouterr().err
    assert "contrastive False -> True, loop.steps 4 -> 9" in said and "another folder" in said
    assert (tmp_path / "out" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "toyy"), "no recipe is called 'toyy'. Did you mean 'toy'?"),
        (("train", "toy", "--config", "tinny"), "recipe 'toy' has no configuration 'tinny'."),
        (("train", "toy", "--config", "CONFIG", "rowz=3"), "has no option 'rowz'. Did you mean"),
        (("train", "toy", "--config", "CONFIG", "loop.steps=many"), "must be int, not 'many'"),
        (("train", "toy", "--config", "CONFIG", "--address", "auto"), "--workers how many"),
    ],
)
def test_mistakes_are_one_clear_line(
    tmp_path: Path,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    given = [str(config) if word == "CONFIG" else word for word in words]
    assert grand(*given, "--data", tmp_path, "--out", tmp_path / "out") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_evaluation_prints_flat_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command("toy")(evaluator("toy"))
    words = ["--data", str(tmp_path), "--checkpoint", str(tmp_path)]
    app([*words, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == {"steps": 0.0}
    app(words, standalone_mode=False)
    assert capsys.readouterr().out == f"steps 0\npictures in {tmp_path / 'eval'}\n"


def test_help_lists_recipes_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from grand_pipeline import cli\n"
        "from training import catalog\n"
        "cli.main(['train', '--help'])\n"
        "print(*[name for name in ('torch', 'ray', 'transformers') if name in sys.modules])\n"
        "print(*catalog.RECIPES)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    *shown, heavy, recipes = done.stdout.splitlines()
    assert done.returncode == 0 and heavy == "", done.stderr
    assert recipes and all(recipe in " ".join(shown) for recipe in recipes.split())


@pytest.mark.parametrize("name", [name for name in catalog.RECIPES if name != "toy"])
def test_every_recipe_keeps_the_form(name: str) -> None:
    module = catalog.recipe(name)
    assert callable(module.main) and callable(module.evaluate)
    assert is_dataclass(module.Config) and {"tiny", "paper"} <= set(names(name))
    held = {option.name for option in fields(module.Config)}
    assert {"data", "out", "loop", "optimizer"} <= held
    for config in names(name):
        asked = load(module.Config, name, config, ["data=RUN", "out=DIR"])
        json.dumps(asdict(asked))
        assert hash(type(asked)) and asked.data == "RUN"
    assert toy.Config.__dataclass_params__.frozen and module.Config.__dataclass_params__.frozen
