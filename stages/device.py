"""What goes to a model's device: how tensors get there, and no more at once than fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

R = TypeVar("R")


def placed(value: Tensor, device: Any, dtype: Any = None) -> Tensor:
    """`value` on `device`, fractions in `dtype` where one is given.

    A GPU fetches it from page-locked memory by itself, so that this thread can go on.
    """
    if str(device).startswith("cuda") and not value.is_cuda:
        value = value.pin_memory()
    wanted = dtype if value.is_floating_point() else None
    moved: Tensor = value.to(device, wanted, non_blocking=True)
    return moved


def in_parts(items: Any, at_once: int, call: Callable[[Any], Sequence[R]]) -> list[R]:
    """`call` of so many `items` at a time (a sequence, or rows of an array), all results in order.

    Where that many do not fit into memory, half of them are tried, and so on down to one: an image
    with two hundred objects is not lost because sixty crops at once were too many. Raises
    torch.OutOfMemoryError where one item alone is too much.
    """
    import torch

    done: list[R] = []
    size = max(1, at_once)
    while len(done) < len(items):
        part = items[len(done) : len(done) + size]
        try:
            done += call(part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            size = len(part) // 2
    return done
