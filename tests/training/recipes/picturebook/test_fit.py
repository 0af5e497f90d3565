"""The training loop: resumable, honest about failures, the same on every device."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from training.checkpoint import TrainingError
from training.logs import read
from training.recipes.picturebook.fit import fit
from training.recipes.picturebook.state import Schedule, finished, restore


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
    schedule = Schedule(steps, 8, 0.05, warmup=2, ema=0.9, bf16=False)
    return fit(nn.Linear(3, 1), line_batch, line_loss, schedule, out, device="cpu", log_every=1)


def test_resumed_run_equals_uninterrupted_one(tmp_path: Path) -> None:
    def stop(step: int) -> Tensor:
        if step == 4:
            raise KeyboardInterrupt
        return line_batch(step)

    whole = run_line(tmp_path / "whole", 8)
    torch.manual_seed(0)
    schedule = Schedule(8, 8, 0.05, warmup=2, ema=0.9, bf16=False)
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


def test_a_run_does_not_change_its_budget_on_the_way(tmp_path: Path) -> None:
    run_line(tmp_path, 5)
    with pytest.raises(TrainingError, match="steps 5 -> 6"):
        run_line(tmp_path, 6)


def test_what_a_killed_run_logged_after_its_state_is_dropped(tmp_path: Path) -> None:
    run_line(tmp_path, 5)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "loss": 1.0}\n{"step": 7, "lo')
    run_line(tmp_path, 5)
    assert len(losses(tmp_path)) == 5


def test_scores_are_of_a_copy_with_the_averaged_weights(tmp_path: Path) -> None:
    seen: list[nn.Module] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append(model)
        return {"weight": float(model.weight.detach().sum())}

    torch.manual_seed(0)
    model, schedule = nn.Linear(3, 1), Schedule(4, 8, 0.05, ema=0.9, bf16=False)
    fit(model, line_batch, line_loss, schedule, tmp_path, evaluate=evaluate, eval_every=4)
    rows = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert seen[0] is not model
    assert rows[-1]["eval_weight"] == pytest.approx(float(model.weight.detach().sum()), abs=1e-6)


def test_a_state_of_the_old_form_is_gone_on_with(tmp_path: Path) -> None:
    schedule = Schedule(4, 8, 0.05)
    model = nn.Linear(3, 1)
    held = {
        f"{part}.{k}": v.clone() for part in ("model", "ema") for k, v in model.state_dict().items()
    }
    held |= {f"exp_avg.{k}": torch.ones_like(v) for k, v in model.state_dict().items()}
    held |= {f"exp_avg_sq.{k}": torch.ones_like(v) for k, v in model.state_dict().items()}
    held |= {f"step.{k}": torch.tensor(3.0) for k in model.state_dict()}
    save_file(held, tmp_path / "state.safetensors")
    summary = {"step": 3, "seconds": 60.0, "schedule": asdict(schedule)}
    (tmp_path / "state.json").write_text(json.dumps(summary))
    fresh = nn.Linear(3, 1)
    assert restore(fresh, tmp_path).step == 3 and torch.equal(fresh.weight, model.weight)
    assert not finished(schedule, tmp_path)
    fit(nn.Linear(3, 1), line_batch, line_loss, schedule, tmp_path, device="cpu")
    assert [row["step"] for row in read(tmp_path / "log.jsonl")] == [4]
    assert finished(schedule, tmp_path)


@pytest.mark.gpu
def test_a_run_moves_from_a_gpu_to_the_cpu(tmp_path: Path) -> None:
    def stop(step: int) -> Tensor:
        if step == 4:
            raise KeyboardInterrupt
        return line_batch(step)

    def loss(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": (model(batch) - batch.sum(1, keepdim=True)).square().mean()}

    schedule = Schedule(8, 8, 0.05, warmup=2, ema=0.9, bf16=True)
    with pytest.raises(KeyboardInterrupt):
        fit(nn.Linear(3, 1), stop, loss, schedule, tmp_path, device="cuda", save_every=2)
    trained = fit(nn.Linear(3, 1), line_batch, loss, schedule, tmp_path, device="cpu")
    assert trained.weight.device.type == "cpu"
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
