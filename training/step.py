"""One step of the optimizer: batches, gradients, and the guard against what is not finite."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from training import distributed, optim, state
from training.checkpoint import TrainingError, replace_text
from training.distributed import World
from training.state import Loop, Run


def take(
    run: Run, batches: Iterator[Any], loop: Loop, optimizer: optim.AdamW, world: World, out: Path
) -> dict[str, Tensor]:
    """One optimizer step; returns the terms, the rate and the norm of the gradient."""
    started = time.monotonic()
    rate = optim.rate(optimizer, run.step, loop.steps)
    optim.set_rate(run.optimizer, rate)
    run.optimizer.zero_grad(set_to_none=True)
    weights: list[Tensor] = []
    seen: list[tuple[Any, Tensor]] = []
    values: dict[str, Tensor] = {}
    for number in range(loop.accumulate):
        began = time.monotonic()
        run.position, batch = _next(batches, run.step)
        batch = distributed.to_device(batch, world.device)
        run.waited += time.monotonic() - began
        # After the batch: what prepares data may draw numbers at other times in a resumed run.
        _seed(loop.seed, run.step, number, world.rank)
        with _synchronized(run.objective, number == loop.accumulate - 1):
            with _autocast(loop, world.device):
                terms = run.objective(batch)
            weight = terms.pop("weight", None)
            weights += [] if weight is None else [weight.detach().float()]
            share = 1 / loop.accumulate if weight is None else weights[-1]
            torch.autograd.backward(terms["loss"] * share)
        seen.append((batch, terms["loss"].detach()))
        for name, term in terms.items():
            values[name] = values.get(name, 0.0) + term.detach() * share
    if weights:
        count = distributed.total(torch.stack(weights).sum()) / world.size
        values = {name: value / count for name, value in values.items()}
        _divide(run.optimizer, count)
    norm = distributed.full(nn.utils.clip_grad_norm_(run.model.parameters(), loop.clip or math.inf))
    if not math.isfinite(float(norm)) or not all(math.isfinite(float(value)) for _, value in seen):
        raise TrainingError(_not_finite(run.step, seen, float(norm), out, world))
    run.optimizer.step()
    state.update_average(run, loop.ema)
    run.step += 1
    run.seconds += time.monotonic() - started
    return values | {"lr": torch.tensor(rate, dtype=torch.float64), "grad_norm": norm}


def _next(batches: Iterator[tuple[Any, Any]], step: int) -> tuple[Any, Any]:
    for position, batch in batches:
        return position, batch
    raise TrainingError(f"the data ended before step {step}; `data` must go on without end")


def _divide(optimizer: torch.optim.AdamW, count: Tensor) -> None:
    """Turn gradients of a sum into those of a mean."""
    for parameter in optim.named(optimizer).values():
        if parameter.grad is not None:
            parameter.grad.div_(count.to(parameter.grad.device))


def _seed(seed: int, step: int, number: int, rank: int) -> None:
    """Seed every global generator for one batch of one step on one rank."""
    value = seed * 1_000_003 + step + 15_485_863 * number + 32_452_843 * rank
    torch.manual_seed(value)
    random.seed(value)
    np.random.seed(value % 2**32)


def _autocast(loop: Loop, device: torch.device) -> AbstractContextManager[Any]:
    has = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=loop.bf16 and has)


def _synchronized(objective: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Gradients meet between ranks once per step: at its last batch."""
    if isinstance(objective, nn.parallel.DistributedDataParallel):
        return nullcontext() if last else objective.no_sync()
    if isinstance(objective, FSDPModule):
        objective.set_requires_gradient_sync(last)
    return nullcontext()


def _not_finite(
    step: int, seen: Sequence[tuple[Any, Tensor]], norm: float, out: Path, world: World
) -> str:
    """The message for a step that can not be taken; all ids go to a file."""
    bad = [batch for batch, loss in seen if not math.isfinite(float(loss))]
    ids = [name for batch in bad or [batch for batch, _ in seen] for name in _ids(batch)]
    losses = [float(loss) for _, loss in seen]
    path = out / f"not_finite_rank{world.rank}.json"
    replace_text(path, json.dumps({"step": step, "losses": losses, "norm": norm, "ids": ids}))
    named = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more in {path}" if len(ids) > 8 else "")
    whose = "batch" if bad or world.size == 1 else "see the other ranks first; this one's batch"
    return (
        f"step {step}: loss or gradient is not finite (loss {losses}, gradient norm {norm}, "
        f"rank {world.rank}); {whose}: {named or 'has no ids'}. The last checkpoint is intact: "
        "look at these images, or lower the learning rate, and resume"
    )


def _ids(batch: Any) -> list[str]:
    """What a batch says its images are, under the name `ids`."""
    found = batch.get("ids", ()) if isinstance(batch, Mapping) else getattr(batch, "ids", ())
    return [str(name) for name in found]
