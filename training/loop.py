"""The training loop: one function that a recipe calls, the same on a CPU, a GPU and many.

    from training import loop
    from training.distributed import joined

    def main(config: Config) -> None:
        with joined() as world:
            data = ...              # data(position) -> iterator of (position after, batch)
            model = loop.fit(
                build(config), data, loss, config.loop, config.optimizer, Path(config.out),
                start=Position(0, 0), batch_size=config.batch_size, world=world,
            )

with `config.loop` a `state.Loop` and `config.optimizer` an `optim.AdamW`. `data(position)` yields
(position after this batch, batch) without end, for this rank, from `position` on;
`loss(model, batch)` returns named scalars with the total under "loss". A killed run goes on at its
newest checkpoint and computes what an uninterrupted one would have: all generators are seeded anew
for every batch of every step and rank, so there is no random state to keep. Mixed precision is
bfloat16, whose range needs no gradient scaler.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from training import distributed, logs, optim, plots, state, step
from training.distributed import World
from training.state import Loop, Loss, Run

Data = Callable[[Any], Iterator[tuple[Any, Any]]]
Evaluate = Callable[[nn.Module], dict[str, float]]


def fit(
    model: nn.Module,
    data: Data,
    loss: Loss,
    loop: Loop,
    optimizer: optim.AdamW,
    out: Path,
    *,
    start: Any,
    batch_size: int,
    world: World | None = None,
    blocks: Sequence[nn.Module] = (),
    evaluate: Evaluate | None = None,
    asked: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Train `model`, or go on training it where `out` holds a checkpoint, and return it.

    `start`: the first position in the data, a dataclass of numbers. `batch_size`: images of one
    batch of one rank, for the log. `blocks`: modules that FSDP gathers one by
    one, and that forget their activations where that is asked for. `evaluate` gets
    the model with its averaged weights, in evaluation mode, on every rank. `asked`: what may not
    change when a run goes on (default: the settings that decide what is learned).

    The returned model carries the averaged weights, where there are some. On SIGTERM a checkpoint
    is written and the process exits with 143.

    Raises:
        TrainingError: a loss or gradient that is not finite (with the ids of the batch), a
            checkpoint of another model, or a run that was begun with other settings.
    """
    world = world or distributed.alone()
    out.mkdir(parents=True, exist_ok=True)
    asked = asked if asked is not None else state.settings(loop, optimizer)
    if loop.forget_activations:
        _forget_activations(blocks)
    run = state.begin(model, loss, loop, optimizer, out, start, world, blocks, asked)
    batches, images = data(run.position), batch_size * loop.accumulate * world.size
    with _reporting(out, loop, world) as report, _stop_flag() as stop:
        while run.step < loop.steps:
            values = step.take(run, batches, loop, optimizer, world, out)
            if run.step % loop.log_every == 0 or run.step == 1:
                report(_row(run, values, images, world))
            last, stopped = run.step >= loop.steps, distributed.anywhere(stop.is_set(), world)
            if last or stopped or run.step % loop.save_every == 0:
                state.save(run, out, loop, asked, world)
            if stopped and not last:
                raise SystemExit(143)
            if evaluate and loop.eval_every and run.step % loop.eval_every == 0:
                report(_judged(run, evaluate, world))
    if world.first:
        plots.write(out)
    state.use_average(run)
    return model.eval()


def _forget_activations(blocks: Sequence[nn.Module]) -> None:
    """Make each block forget its activations and compute them again for the gradient, in place.

    It halves the memory of deep models, or better, for about a third more time; the results are
    the same.
    """
    from torch.utils.checkpoint import checkpoint

    for block in blocks:
        forward = block.forward

        def again(*given: Any, _forward: Any = forward, **named: Any) -> Any:
            return checkpoint(_forward, *given, use_reentrant=False, **named)

        block.forward = again


def _judged(run: Run, evaluate: Evaluate, world: World) -> logs.Row:
    """What `evaluate` says of the averaged weights, without a trace in the training."""
    training = {module: module.training for module in run.model.modules()}
    with state.averaged(run), torch.no_grad():
        scores = distributed.mean(evaluate(run.model.eval()), world)
    for module, mode in training.items():
        module.training = mode
    named = {f"eval_{name}": value for name, value in scores.items()}
    return {"step": run.step, "minutes": _minutes(run), **named}


def _minutes(run: Run) -> float:
    return round(run.seconds / 60, 3)


def _row(run: Run, terms: Mapping[str, Tensor], images: int, world: World) -> logs.Row:
    """What the log says of a step of `images`; the means over all ranks."""
    figures = {
        "images_per_second": images * run.step / max(run.seconds, 1e-9),
        "wait": run.waited / max(run.seconds, 1e-9),
    }
    if world.device.type == "cuda":
        figures["memory_gb"] = torch.cuda.max_memory_allocated(world.device) / 2**30
    values = distributed.mean({name: float(v) for name, v in terms.items()} | figures, world)
    return {
        "step": run.step,
        "images": run.step * images,
        "minutes": _minutes(run),
        **{name: round(value, 6) for name, value in values.items()},
    }


@contextmanager
def _reporting(out: Path, loop: Loop, world: World) -> Iterator[Callable[[logs.Row], None]]:
    """The report of the first rank; the others are silent."""
    if not world.first:
        yield lambda row: None
        return
    with logs.reporting(out, loop.steps, tensorboard=loop.tensorboard) as report:
        yield report


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
