"""One process or many: the same code alone, under torchrun, and under Ray Train.

`joined()` finds out which of them it is. DDP keeps whole copies of the model; FSDP2 ("fsdp") gives
every rank a piece of each parameter, of its gradient and of its optimizer state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor

Sharding = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class World:
    """The processes that train together, as one of them (`rank` of `size`) sees them."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0


def default_device() -> str:
    """The first GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def alone(device: str | None = None) -> World:
    """A world of one process."""
    return World(torch.device(device or default_device()))


@contextmanager
def joined(device: str | None = None, minutes: float = 30) -> Iterator[World]:
    """The world this process belongs to; left again at the end.

    A group that exists already (Ray Train makes one) is used and kept. Otherwise the variables of
    torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) make one: nccl with GPUs,
    gloo on the CPU. Without them the process is alone. `minutes`: how long a rank waits for the
    others before it gives up.
    """
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield alone(device)
        return
    own = _own_device(device or default_device())
    begun = not dist.is_initialized()
    if begun:
        _begin("nccl" if own.type == "cuda" else "gloo", timedelta(minutes=minutes))
    try:
        yield World(own, dist.get_rank(), dist.get_world_size())
    finally:
        if begun:
            dist.destroy_process_group()


def _begin(backend: str, patience: timedelta) -> None:
    """Make the group of torchrun's processes."""
    store, rank, size = next(rendezvous("env://", timeout=patience))
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        # torchrun starts killed processes again on the same store, where the addresses of the
        # dead would be found. On several nodes these counts may differ (docs/training.md).
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = PrefixStore(f"attempt_{attempt}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=patience)


def _own_device(wanted: str) -> torch.device:
    if not wanted.startswith("cuda"):
        return torch.device(wanted)
    index = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def shard(model: nn.Module, world: World, blocks: Sequence[nn.Module] = ()) -> None:
    """Cut the parameters of `model` into a piece per rank (FSDP2), in place.

    `blocks` are gathered and freed one by one as they are used; the rest of the model is one
    more such unit. Every rank begins with the weights of the first.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    for value in model.state_dict().values():
        dist.broadcast(value, 0)
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def to_device(data: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on `device`: tensors, and dataclasses, dictionaries and
    sequences that hold some."""
    if isinstance(data, Tensor):
        return data.to(device, non_blocking=True)
    if is_dataclass(data) and not isinstance(data, type):
        held = {field.name: getattr(data, field.name) for field in fields(data)}
        return replace(data, **{name: to_device(value, device) for name, value in held.items()})
    if isinstance(data, Mapping):
        return {name: to_device(value, device) for name, value in data.items()}
    if type(data) in (list, tuple):
        return type(data)(to_device(value, device) for value in data)
    return data


def full(value: Tensor) -> Tensor:
    """The whole of a tensor of which every rank may hold a piece; all ranks must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def assign(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into `target`, of which every rank may hold a piece."""
    if isinstance(target, DTensor):
        value = value.to(target.device)
        value = distribute_tensor(value, target.device_mesh, target.placements)
    with torch.no_grad():
        target.copy_(value)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.rows = len(value)
        parts = [torch.empty_like(value) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.rows
        return total[first : first + ctx.rows]


def gather(value: Tensor) -> Tensor:
    """Rows (N, ...) of all ranks as (ranks * N, ...), in the order of ranks; N is the same on all.

    Gradients flow to every rank and are summed over the ranks, so that their mean over ranks (as
    DDP and FSDP take it) is the exact gradient of the mean of the ranks' losses.
    """
    return _Gather.apply(value) if dist.is_initialized() else value  # type: ignore[no-untyped-call]  # autograd functions have no types


def total(value: Tensor) -> Tensor:
    """The sum of `value` over all ranks, without gradient."""
    if dist.is_initialized():
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def mean(values: dict[str, float], world: World) -> dict[str, float]:
    """Mean over the ranks of figures that all of them have, by name."""
    if world.size == 1 or not values:
        return values
    held = torch.tensor([values[name] for name in values], dtype=torch.float64)
    sums = total(held.to(world.device if world.device.type == "cuda" else "cpu"))
    return dict(zip(values, (sums / world.size).tolist(), strict=True))


def anywhere(flag: bool, world: World) -> bool:
    """Whether `flag` is set on any rank."""
    if world.size == 1:
        return flag
    return bool(total(torch.tensor(float(flag), device=world.device)))


def barrier() -> None:
    """Wait until every rank is here."""
    if dist.is_initialized():
        dist.barrier()
