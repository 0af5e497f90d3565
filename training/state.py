"""What a run is asked to do, a run under way, and its way into a checkpoint and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training import checkpoint, distributed, logs, optim
from training.checkpoint import TrainingError
from training.distributed import Sharding, World

Loss = Callable[[nn.Module, Any], dict[str, Tensor]]
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Loop:
    """How long a run is and how its steps are taken.

    `accumulate` batches make a step. A loss that averages over something uneven (tokens, masks)
    returns its count as "weight", and batches and ranks are averaged by it; without, they count
    alike, as in one big batch. (Losses that compare the rows of a batch with each other see fewer
    of them either way.) `clip`: largest norm of the gradient, 0 = any. `ema`: decay of the moving
    average of the weights, 0 = none. `bf16`: mixed precision, where the device has it. `compile`:
    a backend of torch.compile ("inductor"), "" = none. `find_unused`: DDP looks for parameters
    that a step left out. `forget_activations`: the blocks that the recipe names compute theirs
    again for the gradient. `keep_frozen`: parameters that are not trained stand in checkpoints.
    """

    steps: int
    seed: int = 0
    accumulate: int = 1
    clip: float = 1.0
    ema: float = 0.0
    bf16: bool = True
    sharding: Sharding = "ddp"
    find_unused: bool = False
    forget_activations: bool = False
    compile: str = ""
    log_every: int = 10
    save_every: int = 500
    eval_every: int = 0
    keep: int = 2
    keep_frozen: bool = True
    tensorboard: bool = False


OPERATIONAL = frozenset(
    {
        "sharding",
        "find_unused",
        "forget_activations",
        "compile",
        "log_every",
        "save_every",
        "eval_every",
    }
    | {"keep", "keep_frozen", "tensorboard"}
)
"""Settings that may change when a run is resumed: they do not change what it learns."""


def settings(loop: Loop, optimizer: optim.AdamW) -> dict[str, Any]:
    """The settings that decide what a run learns."""
    deciding = {name: v for name, v in asdict(loop).items() if name not in OPERATIONAL}
    return deciding | {f"optimizer.{name}": v for name, v in asdict(optimizer).items()}


@dataclass
class Run:
    """A training under way. `objective` is the model with its loss, as it is called.

    `average`: the moving average of the weights, empty where none is kept. `position`: where the
    data goes on. `seconds` of training and those of them that were `waited` for data.
    """

    model: nn.Module
    objective: nn.Module
    optimizer: torch.optim.AdamW
    average: dict[str, Tensor]
    position: Any
    step: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class _Objective(nn.Module):
    """Model and loss as one module, so that all a loss does is inside of its call."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return self.loss(self.model, batch)


def begin(
    model: nn.Module,
    loss: Loss,
    loop: Loop,
    optimizer: optim.AdamW,
    out: Path,
    start: Any,
    world: World,
    blocks: Sequence[nn.Module],
    asked: Mapping[str, Any],
) -> Run:
    """The run at its newest checkpoint, or at its beginning; what was logged later is dropped.

    Raises TrainingError for a checkpoint of another model or of a run that was asked otherwise.
    """
    model.to(world.device).train()
    objective = _Objective(model, loss)
    if loop.sharding == "fsdp" and world.size > 1:
        distributed.shard(objective, world, blocks)
    if loop.compile:
        objective.compile(backend=loop.compile)
    run = Run(model, objective, optim.adamw(model, optimizer), {}, start)
    if loop.ema:
        run.average = {name: v.detach().clone() for name, v in model.state_dict().items()}
    _resume(run, out, asked, world)
    if loop.sharding == "ddp" and world.size > 1:
        run.objective = nn.parallel.DistributedDataParallel(
            objective,
            device_ids=[world.device] if world.device.type == "cuda" else None,
            find_unused_parameters=loop.find_unused,
        )
    return run


def _resume(run: Run, out: Path, asked: Mapping[str, Any], world: World) -> None:
    distributed.barrier()  # nobody reads while the first rank still tidies up
    saved = checkpoint.newest(out, print if world.first else lambda words: None)
    distributed.barrier()
    if world.first:
        logs.cut(out, saved.step if saved else 0)
    if saved is None:
        return
    checkpoint.check_same(saved.facts["asked"], asked, out)
    _load(run.model.state_dict(), saved.tensors("model"), run, saved.folder)
    if run.average:
        _load(run.average, saved.tensors("average"), run, saved.folder)
    moments = saved.tensors("optimizer")
    for name, parameter in optim.named(run.optimizer).items():
        for key in _MOMENTS:
            if f"{key}.{name}" in moments:
                empty = torch.zeros_like(parameter.detach())
                held = torch.zeros((), device=parameter.device) if key == "step" else empty
                distributed.assign(held, moments[f"{key}.{name}"])
                run.optimizer.state[parameter][key] = held
    run.position = type(run.position)(**saved.facts["position"])
    run.step, run.seconds = saved.step, float(saved.facts["seconds"])
    run.waited = float(saved.facts["waited"])
    if world.first:
        print(f"going on at step {run.step}, from {saved.folder}", flush=True)


def save(run: Run, out: Path, loop: Loop, asked: Mapping[str, Any], world: World) -> None:
    """Write a checkpoint; once this returns on any rank, it is on the disk. All ranks must call."""
    frozen = {name for name, p in run.model.named_parameters() if not p.requires_grad}
    left_out = set() if loop.keep_frozen else frozen
    parts = {"model": _whole(run.model.state_dict(), left_out, world)}
    if run.average:
        parts["average"] = _whole(run.average, left_out, world)
    moments = {
        f"{key}.{name}": value
        for name, parameter in optim.named(run.optimizer).items()
        for key, value in run.optimizer.state.get(parameter, {}).items()
    }
    parts["optimizer"] = _whole(moments, set(), world)
    if world.first:
        facts = {
            "step": run.step,
            "seconds": run.seconds,
            "waited": run.waited,
            "position": asdict(run.position),
            "asked": asked,
        }
        checkpoint.save(out, parts, facts, loop.keep)
    distributed.barrier()


@torch.no_grad()
def update_average(run: Run, decay: float) -> None:
    """EMA with a warm-up, so that early averages are not dominated by the initial weights."""
    if not run.average:
        return
    keep = min(decay, (1 + run.step) / (10 + run.step))
    pairs = [(run.average[name], v.detach()) for name, v in run.model.state_dict().items()]
    floats = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
    torch._foreach_lerp_([mean for mean, _ in floats], [value for _, value in floats], 1 - keep)
    for mean, value in pairs:
        if not mean.is_floating_point():
            mean.copy_(value)


@contextmanager
def averaged(run: Run) -> Iterator[None]:
    """The model carries its averaged weights inside, and the trained ones again afterwards."""
    trained = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
    use_average(run)
    try:
        yield
    finally:
        _copy(run.model, trained)


def use_average(run: Run) -> None:
    """Give the model its averaged weights, where there are some."""
    _copy(run.model, run.average)


@torch.no_grad()
def _copy(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = model.state_dict()
    for name, value in weights.items():
        own[name].copy_(value)


def _whole(tensors: Mapping[str, Tensor], left_out: set[str], world: World) -> dict[str, Tensor]:
    """The tensors on the CPU of the first rank; nothing on the others, which help to gather."""
    found = {}
    for name, value in tensors.items():
        if name not in left_out:
            gathered = distributed.full(value.detach())
            if world.first:
                found[name] = gathered.cpu()
    return found


def _load(own: Mapping[str, Tensor], held: Mapping[str, Tensor], run: Run, place: Path) -> None:
    """Copy held tensors into a model's own; frozen ones may have been left out."""
    frozen = {name for name, p in run.model.named_parameters() if not p.requires_grad}
    odd = [n for n, v in held.items() if n not in own or own[n].shape != v.shape]
    odd += [n for n in own if n not in held and n not in frozen]
    if odd:
        raise TrainingError(
            f"{place} holds another model: {sorted(odd)[:3]} differ; use another output folder"
        )
    for name, value in held.items():
        distributed.assign(own[name], value)
