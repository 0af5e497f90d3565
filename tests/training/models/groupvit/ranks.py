"""One rank of the objective: `python -m ... OUT` under torchrun, see test_objective.

Each rank holds half of the pictures; gradients are averaged, as DDP does.
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import groupvit
from training.distributed import joined
from training.models.groupvit.objective import NOTHING, Batch, objective

PICTURES = 4


def batch() -> Batch:
    """Four pictures with a caption and two words each, of which nothing is said twice."""
    tokens, mask = groupvit.texts(3 * PICTURES)
    said = torch.arange(3 * PICTURES).reshape(PICTURES, 3)
    held = torch.cat([said, torch.full((PICTURES, 2), NOTHING)], 1)
    return Batch(
        groupvit.pixels(PICTURES),
        tokens.reshape(PICTURES, 3, -1),
        mask.reshape(PICTURES, 3, -1),
        said,
        held,
    )


def part(whole: Batch, rank: int, ranks: int) -> Batch:
    """The pictures of one rank."""
    own = slice(rank * PICTURES // ranks, (rank + 1) * PICTURES // ranks)
    cut = {f.name: getattr(whole, f.name)[own] for f in fields(whole)}
    return replace(whole, **cut)


def gradients(rank: int, ranks: int) -> dict[str, Tensor]:
    """Gradients of this rank's loss, before they are averaged.

    Groups are assigned as in evaluation, without noise, which every rank would draw otherwise;
    projections normalise by the rows of all ranks, as in training.
    """
    model = groupvit.network()
    model.image_projection.train()
    model.text_projection.train()
    torch.autograd.backward(objective(model, part(batch(), rank, ranks), share=True)["loss"])
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def main(out: Path) -> None:
    """Write the averaged gradients."""
    with joined("cpu") as world:
        found = gradients(world.rank, world.size)
        for value in found.values():
            dist.all_reduce(value)
        if world.first:
            save_file({name: value / world.size for name, value in found.items()}, out / NAME)


NAME = "gradients.safetensors"

if __name__ == "__main__":
    main(Path(sys.argv[1]))
