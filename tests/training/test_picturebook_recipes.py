"""The recipes of the embedded detectors and of the depth model, in a few tiny steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.vocabulary import HELD_OUT, THINGS
from training.recipes.picturebook import batches, common, depth, detector, text
from training.recipes.picturebook.fit import (
    Progress,
    Schedule,
    TrainingError,
    fit,
    learning_rate,
    restore,
)


def line_batch(step: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(step).normal(size=(8, 3))).float()


def line_loss(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    noise = 0.1 * torch.randn(8, 1)  # a resumed run must draw the same numbers
    error = model(batch) - batch.sum(1, keepdim=True) + noise
    return {"loss": error.square().mean()}


def losses(out: Path) -> list[float]:
    return [json.loads(row)["loss"] for row in (out / "log.jsonl").read_text().splitlines()]


def run_line(out: Path, steps: int) -> nn.Module:
    torch.manual_seed(0)
    schedule = Schedule(steps, 8, 0.05, warmup=2, ema=0.9, bf16=False, minutes=60.0)
    return fit(nn.Linear(3, 1), line_batch, line_loss, schedule, out, device="cpu", log_every=1)


def test_resumed_run_equals_uninterrupted_one(tmp_path: Path) -> None:
    def stop(step: int) -> Tensor:
        if step == 4:
            raise KeyboardInterrupt
        return line_batch(step)

    whole = run_line(tmp_path / "whole", 8)
    torch.manual_seed(0)
    schedule = Schedule(8, 8, 0.05, warmup=2, ema=0.9, bf16=False, minutes=60.0)
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        fit(
            nn.Linear(3, 1), stop, line_loss, schedule, cut, device="cpu", log_every=1, save_every=2
        )
    resumed = run_line(cut, 8)
    assert losses(cut) == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)
    assert torch.allclose(resumed.weight, whole.weight, atol=1e-6)
    assert losses(cut)[-1] < losses(cut)[0]


def test_state_restores_averaged_weights(tmp_path: Path) -> None:
    trained = run_line(tmp_path, 5)
    model = nn.Linear(3, 1)
    progress = restore(model, tmp_path)
    assert progress.step == 5
    assert torch.equal(model.weight, trained.weight)
    with pytest.raises(TrainingError, match="train first"):
        restore(model, tmp_path / "nowhere")


def test_not_a_number_stops_the_run(tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": model(batch).sum() * float("nan")}

    with pytest.raises(TrainingError, match="step 0"):
        fit(nn.Linear(3, 1), line_batch, broken, Schedule(3, 8, 0.1), tmp_path, device="cpu")


def test_minutes_anneal_the_rate_to_zero() -> None:
    schedule = Schedule(1000, 1, 1.0, warmup=1, minutes=2.0)
    assert Progress(10, 60.0).fraction(schedule) == 0.5
    assert Progress(1, 500.0).fraction(schedule) == 1.0
    assert learning_rate(schedule, 10, 0.5) == pytest.approx(0.5)
    assert learning_rate(schedule, 10, 1.0) == 0.0


def test_every_known_word_is_one_token_and_others_fall_back_to_pieces() -> None:
    tokenizer = text.build_tokenizer()
    assert all(len(tokenizer(word).input_ids) == 3 for word in text.words())
    odd = tokenizer("zebra café 日本").input_ids
    assert odd.count(tokenizer.eos_token_id) == 1 and odd[0] == tokenizer.bos_token_id > 0
    assert max(tokenizer.get_vocab().values()) == tokenizer.eos_token_id


def test_no_query_names_a_held_out_pair() -> None:
    rng = np.random.default_rng(0)
    queries = {text.random_phrase(rng).text for _ in range(3000)}
    held_out = {f"{color} {noun}" for n, color in HELD_OUT for noun in (n, THINGS[n].plural)}
    assert not held_out & {
        q.removeprefix("a ").removeprefix("an ").removeprefix("the ") for q in queries
    }
    assert any(q.startswith("blue cat") for q in queries)


def test_matches_follow_class_hypernym_and_colour() -> None:
    names = np.array([text.NAMES.index("dog"), text.NAMES.index("sky"), -1])
    colors = np.array([text.COLOR_NAMES.index("red"), -1, -1])
    queries = [("dog", None), ("animal", "red"), ("dog", "green"), ("thing", None), ("sky", None)]
    found = text.matches([text.phrase(n, c, 0) for n, c in queries], names, colors)
    assert found.tolist() == [
        [True, True, False, True, False],
        [False, False, False, False, True],
        [False] * 5,
    ]


def test_assignment_gives_every_object_a_token_with_score_one(tmp_path: Path) -> None:
    scene = common.scene_arrays(render(3, 0))
    data = common.Arrays(**{name: value[None] for name, value in scene.items()})
    view = batches.View(256)
    batch = batches.make_batch(data, view, np.random.default_rng(0))
    owners = batch.owner[batch.weight == 1].tolist()
    assert sorted(set(owners)) == list(range(int((data.classes >= 0).sum())))
    where = (batch.weight[0] == 1).nonzero()[:, 0]
    x, y = (where % 16 + 0.5) / 16, (where // 16 + 0.5) / 16
    middle, size = batch.boxes[0, batch.owner[0, where]].split(2, -1)
    assert ((torch.stack([x, y], -1) - middle).abs() <= size / 2 + 1 / 16).all()


def test_mirrored_crop_keeps_boxes_on_their_objects() -> None:
    scenes = [common.scene_arrays(render(3, i)) for i in range(4)]
    data = common.Arrays(**{k: np.stack([s[k] for s in scenes]) for k in scenes[0]})
    changed = batches.augment(data, batches.View(zoom=1.0), np.random.default_rng(1))
    checked = 0
    for ids, boxes, classes in zip(changed.ids, changed.boxes, changed.classes, strict=True):
        for slot in np.flatnonzero(classes >= 0):
            y, x = np.nonzero(ids == slot)
            tight = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            assert np.abs(tight - boxes[slot]).max() <= 3
            checked += 1
    assert checked > 12


Recipe = Callable[[list[str]], None]


@pytest.mark.parametrize("recipe", [detector.main, depth.main], ids=["detector", "depth"])
def test_recipe_trains_and_exports_a_loadable_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    arguments = ["--variant", "tiny", "--steps", "2", "--pool", "4", "--batch-size", "2"]
    folders = ["--out", str(tmp_path / "run"), "--to", str(tmp_path / "checkpoint")]
    recipe([*arguments, *folders, "--score-scenes", "3"])
    card = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    assert card["steps"] == 2 and card["images"] == 4
    assert len(losses(tmp_path / "run")) >= 1
    check_loads(tmp_path / "checkpoint")


def check_loads(folder: Path) -> None:
    from PIL import Image
    from transformers import (
        AutoImageProcessor,
        AutoModelForDepthEstimation,
        AutoModelForZeroShotObjectDetection,
        AutoProcessor,
    )

    picture = Image.fromarray(render(3, 1).image[:200])
    if json.loads((folder / "config.json").read_text())["model_type"] == "dpt":
        model = AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32)
        inputs = AutoImageProcessor.from_pretrained(folder)(images=picture, return_tensors="pt")
        assert torch.isfinite(model(**inputs).predicted_depth).all()
        return
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder, dtype=torch.float32)
    inputs = AutoProcessor.from_pretrained(folder)(
        text=[["red dog", "zebra"]], images=picture, return_tensors="pt"
    )
    out = model(**inputs)
    assert out.logits.shape[-1] == 2 and torch.isfinite(out.logits).all()
