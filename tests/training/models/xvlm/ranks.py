"""One rank of a gathered contrastive loss: `python -m ... OUT` under torchrun, see test_gathered.

Each rank holds half of the pairs; gradients of a shared matrix are averaged, as DDP does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from training.distributed import joined
from training.models.xvlm import losses

PAIRS = 6


def gradient(exact: bool, rank: int, ranks: int) -> Tensor:
    """The gradient of this rank's loss by the shared matrix, before it is averaged."""
    drawn = torch.Generator().manual_seed(0)
    concepts, texts = torch.randn(2, PAIRS, 4, generator=drawn)
    matrix = torch.randn(4, 4, generator=drawn).requires_grad_()
    own = slice(rank * PAIRS // ranks, (rank + 1) * PAIRS // ranks)
    loss = losses.contrastive(
        losses.gathered(concepts[own] @ matrix, exact=exact),
        losses.gathered(texts[own] @ matrix, exact=exact),
        torch.tensor([0.5]),
        losses.gathered(torch.arange(PAIRS)[own]),
    )
    (found,) = torch.autograd.grad(loss, matrix)
    return found


def main(out: Path) -> None:
    """Write the averaged gradients."""
    with joined("cpu") as world:
        found = {}
        for name, exact in (("exact", True), ("release", False)):
            total = gradient(exact, world.rank, world.size)
            dist.all_reduce(total)
            found[name] = total / world.size
        if world.first:
            save_file(found, out / "gradients.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
