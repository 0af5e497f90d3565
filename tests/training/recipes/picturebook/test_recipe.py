"""What running a recipe means: phases, resuming, scale, and a checkpoint that is whole."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from grand_pipeline.errors import GrandError
from training.checkpoint import TrainingError
from training.recipes.picturebook import export
from training.recipes.picturebook.recipe import Options, Phase, Recipe, main, run
from training.recipes.picturebook.state import Schedule

ROOT = Path(__file__).parents[4]
STEPS = 6


class Line(nn.Module):
    """A model that is saved as transformers models are."""

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.linear.bias.requires_grad_(not frozen)

    def save_pretrained(self, folder: Path) -> None:
        save_file(self.state_dict(), folder / "model.safetensors")


class Words:
    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")


def make_batch(step: int, phase: Phase, run: Path) -> Tensor:
    return torch.from_numpy(np.random.default_rng(step).normal(size=(8, 3))).float()


def loss(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    assert isinstance(model, Line)
    error = model.linear(batch) - batch.sum(1, keepdim=True)
    return {"loss": error.square().mean()}


def start(model: Line, folder: Path) -> None:
    model.load_state_dict(load_file(folder / "model.safetensors"))


def schedule(lr: float) -> Schedule:
    return Schedule(STEPS, 8, lr, warmup=2, ema=0.5, bf16=False, seed=4)


RECIPE = Recipe(
    name="line",
    module="line",
    phases=(Phase("words", schedule(0.1), frozen=True), Phase("joint", schedule(0.05))),
    model=lambda phase: Line(frozen=phase.frozen),
    batch=make_batch,
    loss=loss,
    exported=lambda model: model,
    processor=Words,
    score=lambda model, count: {"count": float(count)},
    start=start,
)


def options(folder: Path, **others: object) -> Options:
    given = Options(folder / "run", folder / "line", export_only=False, scale=1.0, device="cpu")
    return replace(given, **others)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def steps(folder: Path) -> list[int]:
    return [json.loads(row)["step"] for row in (folder / "log.jsonl").read_text().splitlines()]


def test_phases_follow_each_other_and_the_checkpoint_is_whole(tmp_path: Path) -> None:
    run(RECIPE, options(tmp_path))
    folder = tmp_path / "line"
    names = {"model.safetensors", "tokenizer.json", "training.json", "log.jsonl"}
    assert {path.name for path in folder.iterdir()} == names
    assert {path.name for path in tmp_path.iterdir()} == {"run", "line"}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {
        torch.float16
    }
    assert steps(folder) == list(range(1, 2 * STEPS + 1))
    facts = json.loads((folder / "training.json").read_text())
    assert (facts["steps"], facts["images"], facts["seed"]) == (12, 96, 4)
    assert [phase["name"] for phase in facts["phases"]] == ["words", "joint"]
    assert facts["scores"] == {"count": 200.0}


@pytest.mark.parametrize("killed_at", [1, 4, STEPS + 3])
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    tmp_path: Path, killed_at: int
) -> None:
    def killed(step: int, phase: Phase, run: Path) -> Tensor:
        if step == killed_at:
            raise KeyboardInterrupt
        return make_batch(step, phase, run)

    run(RECIPE, options(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run(replace(RECIPE, batch=killed), options(tmp_path / "cut"))
    assert not (tmp_path / "cut" / "line").exists()
    run(RECIPE, options(tmp_path / "cut"))
    assert weights(tmp_path / "cut" / "line") == weights(tmp_path / "whole" / "line")
    assert steps(tmp_path / "cut" / "line") == list(range(1, 2 * STEPS + 1))


def test_a_finished_recipe_does_nothing_until_its_checkpoint_is_gone(tmp_path: Path) -> None:
    def refuse(step: int, phase: Phase, run: Path) -> Tensor:
        raise AssertionError("trained again")

    run(RECIPE, options(tmp_path))
    made = (tmp_path / "line" / "model.safetensors").stat().st_mtime_ns
    run(replace(RECIPE, batch=refuse), options(tmp_path))
    assert (tmp_path / "line" / "model.safetensors").stat().st_mtime_ns == made
    before = weights(tmp_path / "line")
    (tmp_path / "line" / "training.json").unlink()
    run(replace(RECIPE, batch=refuse), options(tmp_path))
    assert weights(tmp_path / "line") == before


def test_scale_shortens_every_phase_and_is_recorded(tmp_path: Path) -> None:
    run(RECIPE, options(tmp_path, scale=0.5))
    facts = json.loads((tmp_path / "line" / "training.json").read_text())
    assert facts["steps"] == STEPS and facts["scores"] == {"count": 100.0}
    assert facts["commands"][0].endswith("--scale 0.5")
    with pytest.raises(TrainingError, match="steps 3 -> 6"):
        run(RECIPE, options(tmp_path))


def test_an_exported_checkpoint_is_trained_on_in_the_last_phase(tmp_path: Path) -> None:
    run(RECIPE, options(tmp_path))
    more = options(tmp_path, out=tmp_path / "more", export=tmp_path / "b", warm=tmp_path / "line")
    run(RECIPE, more)
    facts = json.loads((tmp_path / "b" / "training.json").read_text())
    assert (facts["steps"], facts["images"]) == (3 * STEPS, 24 * STEPS)
    assert len(facts["commands"]) == 2 and facts["commands"][1].endswith("--warm DIR")
    assert [path.name for path in (tmp_path / "more").iterdir() if path.is_dir()] == ["joint"]
    first = json.loads((tmp_path / "b" / "log.jsonl").read_text().splitlines()[0])
    assert (
        first["loss"]
        < 0.5 * json.loads((tmp_path / "line" / "log.jsonl").read_text().splitlines()[0])["loss"]
    )


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GrandError, match=r"no model\.safetensors"):
        export.load_checkpoint(Line(), tmp_path)
    save_file({"linear.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(GrandError, match="holds another model"):
        export.load_checkpoint(Line(), tmp_path)
    save_file({"linear.weight": torch.zeros(1, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(GrandError, match=r"linear\.bias"):
        export.load_checkpoint(Line(), tmp_path)


def test_the_command_line_asks_which_where_there_are_two(tmp_path: Path) -> None:
    folders = ["--out", str(tmp_path / "run"), "--export", str(tmp_path / "line")]
    other = replace(RECIPE, name="other")
    with pytest.raises(SystemExit):
        main((RECIPE, other), "", folders)
    main((RECIPE, other), "", ["line", *folders, "--device", "cpu"])
    assert (tmp_path / "line" / "training.json").is_file()


def test_recipes_need_no_ray() -> None:
    names = sorted(
        f"training.recipes.picturebook.{path.stem}"
        for path in (ROOT / "training" / "recipes" / "picturebook").glob("[a-z]*.py")
    )
    code = (
        "import importlib, sys\nsys.modules['ray'] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
