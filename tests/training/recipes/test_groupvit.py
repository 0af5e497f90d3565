"""The recipe from a run to a model that is measured; the published size; what may not be asked."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from grand_pipeline.errors import SettingsError
from tests.tiny import groupvit, words
from tests.training.data import made
from training.config import load
from training.distributed import alone
from training.logs import read
from training.models.groupvit import export
from training.models.groupvit.network import GroupVit, parameter_count
from training.models.groupvit.objective import Batch, objective
from training.recipes import groupvit as recipe
from training.recipes.groupvit import Config


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
        f"architecture.{name}={json.dumps(value)}" for name, value in asdict(groupvit.SIZES).items()
    ]
    small = ("batch_size=4", "workers=0", "loop.steps=2", "loop.log_every=1", "side=32")
    places = (f"data={json.dumps(run)}", f"out={json.dumps(str(out))}")
    named = (f"tokenizer={json.dumps(tokenizer)}",)
    return load(Config, "groupvit", "tiny", [*sizes, *small, *named, *places, *changes])


def test_a_run_becomes_a_model_that_is_measured(run: str, tokenizer: str, tmp_path: Path) -> None:
    recipe.main(_config(run, tokenizer, tmp_path / "out"))
    rows = read(tmp_path / "out" / "log.jsonl")
    assert {"loss", "captions", "words", "presence"} <= rows[0].keys()
    scores = recipe.evaluate(tmp_path / "out", run, tmp_path / "eval")
    assert {
        *(f"{kind}.miou{end}" for kind in ("zero_shot", "oracle") for end in ("", "_hard")),
        *("probing.jaccard", "probing.foreground", "groups.used", "retrieval.tr_r1", "images"),
    } <= scores.keys()
    assert scores["images"] == 10 and scores["classes"] == 2
    drawn = sorted(path.name.partition("-")[0] for path in (tmp_path / "eval").iterdir())
    assert drawn == ["failure"] * 8 + ["groups"] * 8


def test_the_plain_vit_is_trained_by_the_same_recipe(
    run: str, tokenizer: str, tmp_path: Path
) -> None:
    plain = ("architecture.groups=[]", "architecture.depths=[2]")
    recipe.main(_config(run, tokenizer, tmp_path, *plain))
    scores = recipe.evaluate(tmp_path, run, tmp_path / "eval")
    assert "probing.jaccard" in scores and "zero_shot.miou" not in scores


@pytest.mark.parametrize("change", ["words=0", "words_weight=0.0"])
def test_words_can_be_left_out(run: str, tokenizer: str, tmp_path: Path, change: str) -> None:
    config = _config(run, tokenizer, tmp_path, change, "loop.steps=1")
    recipe.main(config)
    assert "words" not in read(tmp_path / "log.jsonl")[0]
    held = recipe.build(config, alone("cpu")).model.named_parameters()
    assert [name for name, p in held if not p.requires_grad] == ["words_scale"]


def test_a_training_goes_on_as_if_it_had_not_stopped(
    run: str, tokenizer: str, tmp_path: Path
) -> None:
    whole = _config(run, tokenizer, tmp_path / "whole", "loop.steps=4", "loop.save_every=2")
    recipe.main(whole)
    wanted = export.load(tmp_path / "whole" / "model").model.state_dict()
    kept = tmp_path / "whole" / "checkpoints"
    newest = max(kept.iterdir())
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    recipe.main(whole)
    again = export.load(tmp_path / "whole" / "model").model.state_dict()
    assert all(torch.equal(wanted[name], again[name]) for name in wanted)


def test_the_paper_builds_with_the_published_size_and_learns_at_reduced_depth() -> None:
    config = load(Config, "groupvit", "paper", ["data=run", "out=out"])
    assert parameter_count(config.architecture) == 55_726_610
    assert (config.architecture.groups, config.words) == ((64, 8), 3)
    assert (config.share, config.presence) == (False, 0.0)
    shallow = replace(config.architecture, depths=(1, 1, 1), text_layers=1)
    torch.manual_seed(0)
    model = GroupVit(shallow).train()
    tokens = torch.randint(0, 49_408, (2, 4, 9))
    said = torch.arange(8).reshape(2, 4)
    batch = Batch(torch.randn(2, 3, 224, 224), tokens, torch.ones_like(tokens), said, said)
    loss = objective(model, batch)["loss"]
    torch.autograd.backward(loss)
    assert bool(loss.isfinite()) and all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('prompts=["a picture"]', "prompts must have"),
        ("prompts=[]", "prompts must have"),
        ("architecture.depths=[1, 1]", "depths must have one number more"),
    ],
)
def test_what_makes_no_sense_is_refused(change: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(Config, "groupvit", "tiny", ["data=run", "out=out", change])


def test_a_vocabulary_that_is_too_small_is_named(run: str, tokenizer: str, tmp_path: Path) -> None:
    config = _config(run, tokenizer, tmp_path, "architecture.vocabulary=10")
    with pytest.raises(SettingsError, match=r"set architecture\.vocabulary=28"):
        recipe.build(config, alone("cpu"))


def test_the_tiny_configuration_reads_the_words_of_the_picture_book() -> None:
    config = load(Config, "groupvit", "tiny", ["data=run", "out=out"])
    trained = recipe.build(config, alone("cpu"))
    assert len(trained.tokenizer) <= config.architecture.vocabulary
    made = trained.tokenizer("a lighthouse on the sand")["input_ids"]
    assert len(made) == 7  # every word is one token
