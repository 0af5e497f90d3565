from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stages import device


class Tensor:
    """Notes how it is moved."""

    def __init__(self, fractions: bool = True, there: bool = False) -> None:
        self.fractions, self.is_cuda, self.done = fractions, there, list[Any]()

    def pin_memory(self) -> Tensor:
        self.done.append("pinned")
        return self

    def is_floating_point(self) -> bool:
        return self.fractions

    def to(self, place: Any, dtype: Any, non_blocking: bool) -> Tensor:
        self.done.append((str(place), dtype, non_blocking))
        return self


def test_a_gpu_fetches_from_page_locked_memory_without_being_waited_for() -> None:
    given: Any = Tensor()
    device.placed(given, torch.device("cuda:1"), torch.float16)
    assert given.done == ["pinned", ("cuda:1", torch.float16, True)]
    there: Any = Tensor(there=True)
    device.placed(there, "cuda")
    assert there.done == [("cuda", None, True)]


def test_whole_numbers_keep_their_format() -> None:
    ids, pixels = torch.tensor([1, 2]), torch.tensor([0.5])
    assert device.placed(ids, "cpu", torch.bfloat16).dtype == torch.int64
    assert device.placed(pixels, "cpu", torch.bfloat16).dtype == torch.bfloat16
    assert device.placed(pixels, "cpu") is pixels


class Small:
    """A call for which more than `room` items are too many; remembers how many it was given."""

    def __init__(self, room: int) -> None:
        self.room, self.given = room, list[int]()

    def __call__(self, items: Any) -> list[int]:
        self.given.append(len(items))
        if len(items) > self.room:
            raise torch.OutOfMemoryError("full")
        return [int(item) * 10 for item in items]


@pytest.mark.parametrize("items", [list(range(11)), np.arange(11)])
def test_full_memory_halves_what_is_tried_and_goes_on(items: Any) -> None:
    call = Small(3)
    assert device.in_parts(items, 8, call) == [10 * n for n in range(11)]
    assert call.given == [8, 4, 2, 2, 2, 2, 2, 1]


def test_so_many_at_a_time() -> None:
    call = Small(8)
    assert device.in_parts(range(11), 4, call) == [10 * n for n in range(11)]
    assert call.given == [4, 4, 3]
    assert device.in_parts([], 4, call) == []


def test_one_that_does_not_fit_is_an_error() -> None:
    call = Small(0)
    with pytest.raises(torch.OutOfMemoryError):
        device.in_parts([1, 2], 8, call)
    assert call.given == [2, 1]
