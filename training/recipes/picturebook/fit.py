"""The training loop of the embedded checkpoints: resumable, budgeted in steps or minutes.

A run is a folder: `state.safetensors` (model, EMA, optimizer moments; its header holds the
step and the seconds spent), `state.json` (the same figures, readable) and `log.jsonl`.
`batch(step)` must depend on nothing but `step`, and the generators are seeded per step, so a
resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from grand_pipeline.errors import GrandError

STATE = "state.safetensors"


@dataclass(frozen=True)
class Schedule:
    """Length and optimizer of a run.

    With `minutes`, progress is `max(step / steps, elapsed / minutes)`: the learning rate
    reaches zero when the first of the two budgets is spent. Elapsed time survives resumes.
    """

    steps: int
    batch_size: int
    lr: float
    warmup: int = 100
    weight_decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    bf16: bool = True
    minutes: float | None = None


class TrainingError(GrandError):
    """A run that cannot go on: not-a-number losses, or a state of another model."""


@dataclass
class Progress:
    """Where a run stands: steps done and seconds of training, summed over resumes."""

    step: int = 0
    seconds: float = 0.0

    def fraction(self, schedule: Schedule) -> float:
        """Spent part of the budget, 0 to 1."""
        spent = self.step / max(schedule.steps, 1)
        if schedule.minutes is not None:
            spent = max(spent, self.seconds / (60 * schedule.minutes))
        return min(1.0, spent)


def learning_rate(schedule: Schedule, step: int, fraction: float) -> float:
    """Linear warm-up over `warmup` steps times a cosine in the spent fraction."""
    warm = min(1.0, (step + 1) / max(schedule.warmup, 1))
    return schedule.lr * warm * 0.5 * (1 + math.cos(math.pi * fraction))


def fit(
    model: nn.Module,
    batch: Callable[[int], Any],
    loss: Callable[[nn.Module, Any], dict[str, Tensor]],
    schedule: Schedule,
    out: Path,
    *,
    device: str | None = None,
    log_every: int = 20,
    save_every: int = 200,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    eval_every: int = 0,
) -> nn.Module:
    """Train `model` (or go on training, when `out` holds a state) and return it.

    `loss(model, batch(step))` returns named scalars; "loss" is their total. The returned
    model carries the averaged (EMA) weights. On SIGTERM the state is saved and the process
    exits with 143. Raises TrainingError on a loss that is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model.to(target).train()
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    optimizer = _optimizer(model, schedule)
    progress = _resume(model, average, optimizer, out)
    with _stop_flag() as stopped:
        while progress.fraction(schedule) < 1.0:
            started = time.monotonic()
            terms = _step(model, batch, loss, schedule, optimizer, progress)
            _update_average(average, model, schedule.ema, progress.step)
            progress.step += 1
            progress.seconds += time.monotonic() - started
            if progress.step % log_every == 0 or progress.step == 1:
                _log(out, progress, schedule, terms)
            last = progress.fraction(schedule) >= 1.0
            if last or stopped.is_set() or progress.step % save_every == 0:
                _save(model, average, optimizer, progress, schedule, out)
            if stopped.is_set() and not last:
                raise SystemExit(143)
            if evaluate and eval_every and progress.step % eval_every == 0:
                _log(out, progress, schedule, _with_weights(model, average, evaluate))
    model.load_state_dict(average)
    return model.eval()


def restore(model: nn.Module, out: Path) -> Progress:
    """Load the averaged weights of the last saved state of `out` into `model`."""
    path = out / STATE
    if not path.is_file():
        raise TrainingError(f"no training state in {out}: expected {STATE}; train first")
    with safe_open(path, framework="pt") as state:
        model.load_state_dict(
            {name: state.get_tensor(f"ema.{name}") for name in model.state_dict()}
        )
        metadata = state.metadata()
    model.eval()
    return Progress(int(metadata["step"]), float(metadata["seconds"]))


def saved_schedule(out: Path) -> Schedule:
    """The schedule of the run in `out`, as its last saved state recorded it."""
    return Schedule(**json.loads((out / "state.json").read_text())["schedule"])


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW; weight decay for matrices only. Names are kept for the saved state."""
    groups: list[dict[str, Any]] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = schedule.weight_decay if parameter.ndim >= 2 else 0.0
            groups.append({"params": [parameter], "weight_decay": decay, "name": name})
    by_decay: dict[float, dict[str, Any]] = {}
    for group in groups:
        kept = by_decay.setdefault(
            group["weight_decay"],
            {"params": [], "weight_decay": group["weight_decay"], "names": []},
        )
        kept["params"] += group["params"]
        kept["names"].append(group["name"])
    return torch.optim.AdamW(list(by_decay.values()), lr=schedule.lr, betas=(0.9, 0.98), fused=True)


def _step(
    model: nn.Module,
    batch: Callable[[int], Any],
    loss: Callable[[nn.Module, Any], dict[str, Tensor]],
    schedule: Schedule,
    optimizer: torch.optim.AdamW,
    progress: Progress,
) -> dict[str, float]:
    """One optimizer step; returns the terms as floats."""
    torch.manual_seed(schedule.seed * 1_000_003 + progress.step)
    rate = learning_rate(schedule, progress.step, progress.fraction(schedule))
    for group in optimizer.param_groups:
        group["lr"] = rate
    data = batch(progress.step)
    kind = next(model.parameters()).device.type
    with torch.autocast(kind, torch.bfloat16, enabled=schedule.bf16):
        terms = loss(model, data)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(terms["loss"])
    norm = nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
    values = {name: float(value.detach()) for name, value in terms.items()}
    if not (math.isfinite(values["loss"]) and math.isfinite(float(norm))):
        raise TrainingError(
            f"step {progress.step}: loss or gradient is not finite ({values}, gradient norm "
            f"{float(norm)}); the last saved state is intact: lower the learning rate and resume"
        )
    optimizer.step()
    return values | {"lr": rate, "grad_norm": float(norm)}


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """EMA with a warm-up, so that early averages are not dominated by the initial weights."""
    keep = min(decay, (1 + step) / (10 + step))
    pairs = [(average[k], v.detach()) for k, v in model.state_dict().items()]
    floats = [(a, v) for a, v in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [v for _, v in floats], 1 - keep)
    for a, v in pairs:
        if not a.is_floating_point():
            a.copy_(v)


def _with_weights(
    model: nn.Module, average: dict[str, Tensor], evaluate: Callable[[nn.Module], dict[str, float]]
) -> dict[str, float]:
    """Run `evaluate` on the averaged weights, then put the trained ones back."""
    trained = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(average)
    model.eval()
    try:
        with torch.no_grad():
            return {f"eval_{name}": value for name, value in evaluate(model).items()}
    finally:
        model.load_state_dict(trained)
        model.train()


def _save(
    model: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.AdamW,
    progress: Progress,
    schedule: Schedule,
    out: Path,
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"ema.{name}": value for name, value in average.items()}
    for name, parameter in _named(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}.{name}"] = value
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    metadata = {"step": str(progress.step), "seconds": str(progress.seconds)}
    temporary = out / f"{STATE}.tmp"
    save_file(tensors, temporary, metadata=metadata)
    os.replace(temporary, out / STATE)
    readable = {**asdict(progress), "schedule": asdict(schedule)}
    (out / "state.json").write_text(json.dumps(readable, indent=2) + "\n")


def _resume(
    model: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.AdamW, out: Path
) -> Progress:
    """Load the saved state, if any, into model, average and optimizer."""
    path = out / STATE
    if not path.is_file():
        return Progress()
    with safe_open(path, framework="pt") as state:
        held = set(state.keys())
        wanted = {f"model.{name}" for name in average}
        if not wanted <= held:
            raise TrainingError(
                f"{path} holds another model: it lacks {sorted(wanted - held)[:3]}; "
                "use another output folder"
            )
        model.load_state_dict({n: state.get_tensor(f"model.{n}") for n in average})
        for name, value in average.items():
            value.copy_(state.get_tensor(f"ema.{name}"))
        for name, parameter in _named(optimizer):
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"{key}.{name}" in held:
                    value = state.get_tensor(f"{key}.{name}")
                    optimizer.state[parameter][key] = value.to(parameter.device)
        metadata = state.metadata()
    return Progress(int(metadata["step"]), float(metadata["seconds"]))


def _named(optimizer: torch.optim.AdamW) -> Iterator[tuple[str, nn.Parameter]]:
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)


def _log(out: Path, progress: Progress, schedule: Schedule, terms: dict[str, float]) -> None:
    row: dict[str, float] = {
        "step": progress.step,
        "images": progress.step * schedule.batch_size,
        "minutes": round(progress.seconds / 60, 3),
    }
    row |= {name: round(value, 6) for name, value in terms.items()}
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps(row) + "\n")
    print(" ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


@contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """An event that SIGTERM sets; only the main thread may install the handler."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stopped.set()

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, previous)
