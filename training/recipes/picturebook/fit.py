"""The training loop of the embedded checkpoints: resumable, the same on a CPU and on a GPU.

`batch(step)` must depend on nothing but `step`, and the generators are seeded per step, so a
resumed run sees what an uninterrupted one would have seen. Batches are made on the CPU; this
loop moves them to the device of the model.
"""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from training.recipes.picturebook.state import (
    Progress,
    Schedule,
    TrainingError,
    check_schedule,
    cut_log,
    log,
    resume,
    save,
)


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
    log_every: int | None = None,
    save_every: int | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    eval_every: int = 0,
) -> nn.Module:
    """Train `model` (or go on training, when `out` holds a state) and return it.

    `loss(model, batch(step))` returns named scalars; "loss" is their total. The returned
    model carries the averaged (EMA) weights; `evaluate` gets a copy of them on the CPU. On
    SIGTERM the state is saved and the process exits with 143. Raises TrainingError on a loss
    that is not finite, and when `out` holds a run with another schedule.
    """
    out.mkdir(parents=True, exist_ok=True)
    check_schedule(schedule, out)
    log_every = log_every or max(1, schedule.steps // 150)
    save_every = save_every or min(200, max(5, schedule.steps // 10))
    model.to(torch.device(device or default_device())).train()
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    optimizer = _optimizer(model, schedule)
    progress = resume(model, average, optimizer, out)
    cut_log(out, progress.step)
    with _stop_flag() as stopped:
        while progress.fraction(schedule) < 1.0:
            started = time.monotonic()
            terms = _step(model, batch, loss, schedule, optimizer, progress)
            _update_average(average, model, schedule.ema, progress.step)
            progress.step += 1
            progress.seconds += time.monotonic() - started
            if progress.step % log_every == 0 or progress.step == 1:
                log(out, progress, schedule, terms)
            last = progress.fraction(schedule) >= 1.0
            if last or stopped.is_set() or progress.step % save_every == 0:
                save(model, average, optimizer, progress, schedule, out)
            if stopped.is_set() and not last:
                raise SystemExit(143)
            if evaluate and eval_every and progress.step % eval_every == 0:
                log(out, progress, schedule, _judged(model, average, evaluate))
    model.load_state_dict(average)
    return model.eval()


def default_device() -> str:
    """The first GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def to_device(data: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on `device`: tensors, and dataclasses that hold some."""
    if isinstance(data, Tensor):
        return data.to(device, non_blocking=True)
    if is_dataclass(data) and not isinstance(data, type):
        held = {field.name: getattr(data, field.name) for field in fields(data)}
        return replace(data, **{name: to_device(value, device) for name, value in held.items()})
    return data


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
    device = next(model.parameters()).device
    data = to_device(batch(progress.step), device)
    with torch.autocast(device.type, torch.bfloat16, enabled=schedule.bf16 and _has_bf16(device)):
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


def _has_bf16(device: torch.device) -> bool:
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def _judged(
    model: nn.Module, average: dict[str, Tensor], evaluate: Callable[[nn.Module], dict[str, float]]
) -> dict[str, float]:
    """What `evaluate` says of the averaged weights; scoring happens on the CPU."""
    judged = copy.deepcopy(model).cpu()
    judged.load_state_dict(average)
    with torch.no_grad():
        return {f"eval_{name}": value for name, value in evaluate(judged.eval()).items()}


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
