"""The recipe from a run to a model that is measured; the published sizes; what may not be asked."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from grand_pipeline import fields
from grand_pipeline.errors import MissingDependencyError, SettingsError
from tests.tiny import words, xvlm
from tests.training.data import made
from training.config import load, names
from training.distributed import alone
from training.logs import read
from training.models.xvlm import export
from training.models.xvlm.network import parameter_count
from training.recipes import xvlm as recipe
from training.recipes.xvlm import Config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(made.write_run(tmp_path_factory.mktemp("run"), [6, 4]).root)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    words.bert_tokenizer().save_pretrained(folder)
    return str(folder)


def _config(run: str, tokenizer: str, out: Path, *changes: str) -> Config:
    """The tiny configuration with the network of `tests.tiny` and two steps."""
    sizes = [
        f"architecture.{name}={json.dumps(value)}" for name, value in asdict(xvlm.SIZES).items()
    ]
    small = ("batch_size=4", "region_rows=4", "workers=0", "loop.steps=2", "loop.log_every=1")
    start = ("vision=random", "text=random", f"tokenizer={json.dumps(tokenizer)}")
    places = (f"data={json.dumps(run)}", f"out={json.dumps(str(out))}", "grounding_steps=2")
    return load(Config, "xvlm", "tiny", [*sizes, *small, *start, *places, *changes])


def test_a_run_becomes_a_model_that_is_measured(run: str, tokenizer: str, tmp_path: Path) -> None:
    config = _config(run, tokenizer, tmp_path / "out")
    recipe.main(config)
    rows, boxes = (read(tmp_path / "out" / part / "log.jsonl") for part in ("", "grounding"))
    assert {"contrastive", "matching", "words", "box_l1", "box_giou"} <= rows[0].keys()
    assert "contrastive" not in boxes[0] and "box_giou" in boxes[0]
    scores = recipe.evaluate(tmp_path / "out", run, tmp_path / "eval")
    assert scores.keys() == {
        *(f"retrieval.{way}_r{k}" for way in ("tr", "ir") for k in (1, 5, 10)),
        *("referring.p50", "weak.p50", "weak.chance", "images", "expressions"),
    }
    # Every picture says the same, so every text belongs to every picture.
    assert scores["retrieval.tr_r1"] == 1 and scores["images"] == 10
    drawn = sorted(path.name.rpartition("-")[2] for path in (tmp_path / "eval").iterdir())
    assert drawn == ["boxes.png"] * 8 + ["words.png"] * 8


def test_what_is_done_is_not_done_again(run: str, tokenizer: str, tmp_path: Path) -> None:
    config = _config(run, tokenizer, tmp_path, "grounding_steps=0")
    recipe.main(config)
    first = export.load(tmp_path / "model").model.state_dict()
    recipe.main(config)
    again = export.load(tmp_path / "model").model.state_dict()
    assert all(bool((first[name] == again[name]).all()) for name in first)
    assert len(read(tmp_path / "log.jsonl")) == 2


@pytest.mark.parametrize("change", ["object=false", "region=false", "bbox=false"])
def test_parts_can_be_left_out(run: str, tokenizer: str, tmp_path: Path, change: str) -> None:
    recipe.main(_config(run, tokenizer, tmp_path, change))
    rows = read(tmp_path / "log.jsonl")
    assert ("box_giou" in rows[0]) == (change != "bbox=false")
    assert (tmp_path / "grounding").is_dir() == (change != "bbox=false")


def test_the_paper_and_the_release_have_the_published_sizes() -> None:
    assert {"paper", "release", "tiny"} <= set(names("xvlm"))
    for name in ("paper", "release"):
        config = load(Config, "xvlm", name, ["data=run", "out=out"])
        assert parameter_count(config.architecture) == pytest.approx(215.6e6, rel=0.02)
    assert config.optimizer.multipliers["match_head"] == 2
    assert (config.optimizer.weight_decay, config.tokens, config.view.masking.most) == (0.01, 40, 8)


def test_published_weights_that_are_not_here_are_one_clear_line(
    run: str, tokenizer: str, tmp_path: Path
) -> None:
    empty = tmp_path / "swin"
    empty.mkdir()
    config = _config(run, tokenizer, tmp_path, f"vision={json.dumps(str(empty))}")
    with pytest.raises(MissingDependencyError, match="train with 'random'"):
        recipe.build(config, alone("cpu"))


def test_a_vocabulary_that_is_too_small_is_named(run: str, tokenizer: str, tmp_path: Path) -> None:
    config = _config(run, tokenizer, tmp_path, "architecture.vocabulary=10")
    with pytest.raises(SettingsError, match=r"set architecture\.vocabulary=28"):
        recipe.build(config, alone("cpu"))


def test_half_of_an_odd_batch_is_refused() -> None:
    with pytest.raises(SettingsError, match="batch_size must be even"):
        load(Config, "xvlm", "tiny", ["data=run", "out=out", "batch_size=3"])


def test_training_is_the_same_for_any_number_of_workers(
    run: str, tokenizer: str, tmp_path: Path
) -> None:
    weights = []
    for workers in (0, 1):
        out = tmp_path / str(workers)
        recipe.main(_config(run, tokenizer, out, "grounding_steps=0", f"workers={workers}"))
        weights.append(export.load(out / "model").model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_configurations_say_only_what_the_recipe_knows() -> None:
    for name in names("xvlm"):
        assert fields.build(Config, asdict(load(Config, "xvlm", name, ["data=r", "out=o"])), name)
