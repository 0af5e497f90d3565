"""The recipe from a run to a model that is measured; the published sizes; what may not be asked."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from grand_pipeline import fields
from grand_pipeline.errors import SettingsError
from grand_pipeline.picturebook.vocabulary import COLORS, STUFF, THINGS
from tests.tiny import checkpoints
from tests.tiny import densevlm as tiny
from tests.training.data import made
from training.config import load, names
from training.distributed import alone
from training.logs import read
from training.models.densevlm import export
from training.models.densevlm.network import Batch, objective
from training.recipes import densevlm as recipe
from training.recipes.densevlm import Config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(made.write_run(tmp_path_factory.mktemp("run"), [6, 4]).root)


def _config(run: str, out: Path, *changes: str) -> Config:
    """The tiny configuration with the towers of `tests.tiny`, three categories and two steps."""
    sources = {
        "student": checkpoints.checkpoint(checkpoints.siglip),
        "teacher": checkpoints.checkpoint(checkpoints.owl_vit),
        "data": run,
        "out": str(out),
        "things": ["ball", "box"],
        "stuff": ["sky"],
    }
    given = [f"{name}={json.dumps(value)}" for name, value in sources.items()]
    small = ("batch_size=4", "workers=0", "loop.steps=2", "loop.log_every=1", "side=32", "crop=32")
    sides = ("teacher_side=32", "optimizer.warmup=0", "theta=0.0", 'source="grid"')
    return load(Config, "densevlm", "tiny", [*given, *small, *sides, *changes])


def test_a_run_becomes_a_model_that_is_measured(run: str, tmp_path: Path) -> None:
    config = _config(run, tmp_path / "out")
    recipe.main(config)
    rows = read(tmp_path / "out" / "log.jsonl")
    assert {"loss", "thing", "stuff", "kept", "things_of_kept"} <= rows[0].keys()
    scores = recipe.evaluate(tmp_path / "out", run, tmp_path / "eval")
    assert scores["images"] == 10 and scores["boxes.count"] == scores["masks_t.count"] == 20
    assert scores["boxes.top5"] == 1 and scores["unknown"] == 0
    drawn = sorted(path.name.rpartition("-")[2] for path in (tmp_path / "eval").iterdir())
    assert drawn == ["confusion.png"] + ["patches.png"] * 8


def test_only_blocks_of_the_student_change(run: str, tmp_path: Path) -> None:
    config = _config(run, tmp_path)
    begun = recipe.build(config, alone("cpu")).student.state_dict()
    recipe.main(config)
    after = export.load(tmp_path / "model").tower.state_dict()
    changed = {name for name in begun if not torch.equal(begun[name], after[name])}
    assert changed and all(".encoder.layers." in name for name in changed)


def test_what_is_done_is_not_done_again(run: str, tmp_path: Path) -> None:
    config = _config(run, tmp_path, "blend=0.5")
    recipe.main(config)
    first = export.load(tmp_path / "model").tower.state_dict()
    recipe.main(config)
    again = export.load(tmp_path / "model").tower.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_end_is_mixed_with_the_beginning(run: str, tmp_path: Path) -> None:
    begun = recipe.build(_config(run, tmp_path), alone("cpu")).student.state_dict()
    states = []
    for share in (1.0, 0.25):
        recipe.main(_config(run, tmp_path / str(share), f"blend={share}"))
        states.append(export.load(tmp_path / str(share) / "model").tower.state_dict())
    for name, old in begun.items():
        wanted = 0.25 * states[0][name] + 0.75 * old
        torch.testing.assert_close(states[1][name], wanted, msg=name)


def test_the_baseline_learns_from_its_own_crops(run: str, tmp_path: Path) -> None:
    recipe.main(_config(run, tmp_path / "self", 'method="clipself"', 'teacher=""'))
    rows = read(tmp_path / "self" / "log.jsonl")
    assert "thing" not in rows[0] and 0 < rows[0]["loss"] < 2
    # What it made teaches in turn.
    teacher = json.dumps(str(tmp_path / "self" / "model"))
    recipe.main(_config(run, tmp_path / "next", f"teacher={teacher}"))
    assert (tmp_path / "next" / "model").is_dir()


def test_proposals_come_from_the_run(run: str, tmp_path: Path) -> None:
    recipe.main(_config(run, tmp_path, 'source="proposals"'))
    assert (tmp_path / "model").is_dir()


def test_a_teacher_is_needed(run: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a teacher"):
        recipe.build(_config(run, tmp_path, 'teacher=""'), alone("cpu"))


@pytest.mark.parametrize(
    ("change", "message"),
    [("stuff=[]", "both name categories"), ('stuff=["box"]', "'box' is among things and among")],
)
def test_categories_are_checked(run: str, tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _config(run, tmp_path, change)


def test_training_is_the_same_for_any_number_of_workers(run: str, tmp_path: Path) -> None:
    weights = []
    for workers in (0, 1):
        out = tmp_path / str(workers)
        recipe.main(_config(run, out, f"workers={workers}"))
        weights.append(export.load(out / "model").tower.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_paper_has_the_published_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    config = load(Config, "densevlm", "paper", ["data=run", "out=out"])
    random = replace(config, student="random", teacher="random", templates=("{}",))
    with torch.device("meta"):
        model = recipe.build(random, alone("cpu"))
    said = capsys.readouterr().out
    assert "student of 86.3 million parameters" in said and "teacher of 304.4 million" in said
    assert model.student_texts.shape == (171, 512) and model.teacher_texts.shape == (171, 768)
    release = load(Config, "densevlm", "release", ["data=run", "out=out"])
    assert (config.optimizer.lr, release.optimizer.lr, release.blend) == (1e-4, 1e-5, 0.9)
    assert (config.aim.things, config.aim.apart) == (80, True)
    # The published code takes the last thing for stuff.
    assert (release.aim.things, release.aim.apart) == (79, False)


def test_the_paper_takes_a_step_at_reduced_depth() -> None:
    config = load(Config, "densevlm", "paper", ["data=run", "out=out", "side=64"])
    config = replace(
        config,
        student="random",
        teacher="random",
        student_sizes=replace(config.student_sizes, layers=1),
        teacher_sizes=replace(config.teacher_sizes, layers=1),
    )
    model = recipe.build(config, alone("cpu"))
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]])
    none = torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
    batch = Batch(tiny.pixels(1, 64), boxes, torch.ones(1, 2, dtype=torch.bool), none)
    terms = objective(model, batch, replace(config.aim, theta=0.0))
    torch.autograd.backward(terms["loss"])
    gradients = [v.grad for v in model.parameters() if v.requires_grad]
    assert gradients and all(g is not None and bool(g.isfinite().all()) for g in gradients)


def test_configurations_say_only_what_the_recipe_knows() -> None:
    assert {"clipself", "colored", "paper", "release", "tiny"} == set(names("densevlm"))
    for name in names("densevlm"):
        config = load(Config, "densevlm", name, ["data=r", "out=o"])
        assert fields.build(Config, asdict(config), name) == config
        assert len(set(config.things)) == len(config.things) in (30, 80, 330)
        assert len(set(config.stuff)) == len(config.stuff) in (7, 91)


def test_categories_of_the_picture_book_are_those_of_its_vocabulary() -> None:
    tiny_one, colored = (
        load(Config, "densevlm", name, ["data=r", "out=o"]) for name in ("tiny", "colored")
    )
    assert set(tiny_one.things) == set(THINGS)
    assert set(colored.things) == {f"{color} {name}" for name in THINGS for color in COLORS}
    assert set(tiny_one.stuff) == set(colored.stuff) == set(STUFF)
    assert (tiny_one.aim.noise, colored.aim.noise) == (0.0, 0.5)
