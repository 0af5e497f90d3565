"""A recipe in miniature: a net that learns to add, from batches that are numbered.

`python -m tests.training.toy OUT key=value...` runs it, alone or under torchrun.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from grand_pipeline import fields
from training import loop
from training.config import assigned
from training.distributed import World, gather, joined
from training.optim import AdamW
from training.state import Loop

LOOP = Loop(steps=6, log_every=1, save_every=2, ema=0.9, bf16=False)
PACE = AdamW(lr=0.05, warmup=2)


@dataclass(frozen=True)
class Config:
    """`rows` of a step over all ranks. Rank 1 is killed at step `die_at`, once."""

    out: str
    data: str = "none"
    rows: int = 8
    contrastive: bool = False
    weighted: bool = False
    die_at: int = -1
    loop: Loop = LOOP
    optimizer: AdamW = PACE


@dataclass(frozen=True)
class Place:
    """How many steps of the data are used."""

    step: int = 0


@dataclass(frozen=True)
class Batch:
    """Numbers (n, 3) and what they are called."""

    ids: tuple[str, ...]
    numbers: Tensor


class Net(nn.Module):
    """Two layers; dropout only where it is asked for, since ranks draw different numbers."""

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(drop))
        self.last = nn.Linear(16, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(numbers))
        return out


def net(drop: float = 0.0) -> Net:
    """The same new net every time."""
    torch.manual_seed(3)
    return Net(drop)


def rows(step: int, count: int) -> Batch:
    """The rows of a step."""
    rng = np.random.default_rng(step)
    ids = tuple(f"image{step * count + n}" for n in range(count))
    return Batch(ids, torch.from_numpy(rng.normal(size=(count, 3))).float())


def sums(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """How far the net is from the sum and the difference of its numbers."""
    wanted = torch.stack([batch.numbers.sum(1), batch.numbers[:, 0] - batch.numbers[:, 1]], 1)
    error = model(batch.numbers) - wanted
    return {"loss": error.square().mean(), "largest": error.detach().abs().max()}


def uneven(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The error of rows whose first number is positive: as many as there happen to be."""
    kept = batch.numbers[:, 0] > 0
    error = (model(batch.numbers) - batch.numbers[:, :2])[kept].square().sum()
    return {"loss": error / kept.sum().clamp(min=1), "weight": kept.sum()}


def pairs(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Rows of all ranks against all rows, as contrastive losses do."""
    seen = gather(model(batch.numbers))
    target = gather(batch.numbers)[:, :2]
    return {"loss": nn.functional.cross_entropy(seen @ target.T, torch.arange(len(seen)))}


def main(config: Config) -> nn.Module:
    """Train it."""
    with joined("cpu") as world:
        model = net()
        return loop.fit(
            model,
            lambda place: data(config, world, place),
            pairs if config.contrastive else uneven if config.weighted else sums,
            config.loop,
            config.optimizer,
            Path(config.out),
            start=Place(),
            batch_size=config.rows // world.size // config.loop.accumulate,
            world=world,
            blocks=[model.first],
        )


def data(config: Config, world: World, place: Place) -> Iterator[tuple[Place, Batch]]:
    """The rows of each step, cut among the ranks."""
    size = config.rows // world.size // config.loop.accumulate
    step = place.step
    while True:
        if step == config.die_at and world.rank == 1 and not (died := _died(config)).exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        whole = rows(step, config.rows)
        step += 1
        for number in range(config.loop.accumulate):
            first = (number * world.size + world.rank) * size
            mine = slice(first, first + size)
            yield Place(step), Batch(whole.ids[mine], whole.numbers[mine])


def evaluate(checkpoint: Path, data: Path, out: Path) -> dict[str, float]:
    """A score, for the command."""
    return {"steps": float(len(list(checkpoint.glob("checkpoints/*"))))}


def _died(config: Config) -> Path:
    return Path(config.out) / "died"


if __name__ == "__main__":
    # Several trainings in one launch: starting processes takes longer than all of them.
    folder, *runs = sys.argv[1:]
    with joined("cpu"):
        for number, words in enumerate(runs):
            given = {"out": f"{folder}/{number}", "loop": asdict(LOOP), "optimizer": asdict(PACE)}
            main(fields.build(Config, assigned(given, words.split(",")), "toy"))
