"""The training loop as the recipes of the embedded checkpoints call it.

`batch(step)` must depend on nothing but `step`, so a resumed run sees what an uninterrupted one
would have seen. Batches are made on the CPU; the loop moves them to the device of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from training import loop
from training.distributed import alone
from training.optim import AdamW
from training.recipes.picturebook.state import Place, Schedule, adopt
from training.state import Loop


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
    """Train `model` (or go on training, when `out` holds a checkpoint) and return it.

    As `loop.fit`, with a cosine over the whole run times a warm-up, weight decay for all matrices,
    and an `evaluate` that gets a copy of the averaged model on the CPU.
    """
    adopt(out)

    def data(place: Place) -> Iterator[tuple[Place, Any]]:
        for step in count(place.step):
            yield Place(step + 1), batch(step)

    def judge(judged: nn.Module) -> dict[str, float]:
        return evaluate(copy.deepcopy(judged).cpu().eval()) if evaluate else {}

    return loop.fit(
        model,
        data,
        loss,
        _loop(schedule, log_every, save_every, eval_every),
        _optimizer(schedule),
        out,
        start=Place(),
        batch_size=schedule.batch_size,
        world=alone(device),
        evaluate=judge if evaluate else None,
        asked=asdict(schedule),
    )


def _loop(
    schedule: Schedule, log_every: int | None, save_every: int | None, eval_every: int
) -> Loop:
    return Loop(
        schedule.steps,
        seed=schedule.seed,
        clip=schedule.clip,
        ema=schedule.ema,
        bf16=schedule.bf16,
        log_every=log_every or max(1, schedule.steps // 150),
        save_every=save_every or min(200, max(5, schedule.steps // 10)),
        eval_every=eval_every,
        keep=1,
    )


def _optimizer(schedule: Schedule) -> AdamW:
    return AdamW(
        schedule.lr,
        weight_decay=schedule.weight_decay,
        warmup=schedule.warmup,
        curve="annealed",
        decay_embeddings=True,
    )
