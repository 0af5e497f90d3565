"""Networks of a loaded stage compiled by torch, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any


def compile_layers(live: Any, backend: str | Callable[..., Any] = "inductor") -> int:
    """Have torch compile, when they are first called, the layers of every network in `live`.

    Compiled are the members of a network's outermost lists of layers, in place. Layers of one kind
    share what is compiled, so this takes seconds where whole networks take minutes, and it works
    whatever way a stage calls into a network. What is not such a layer runs as it did.

    Args:
        live: what `Stage.load` returned: networks are looked for in the fields of dataclasses.
        backend: what torch is to compile with.

    Returns:
        How many layers will be compiled.
    """
    layers = [layer for network in _networks(live) for layer in _layers(network)]
    for layer in layers:
        layer.compile(backend=backend)
    return len(layers)


def _networks(live: Any) -> Iterator[Any]:
    import torch

    if isinstance(live, torch.nn.Module):
        yield live
    elif dataclasses.is_dataclass(live):
        for field in dataclasses.fields(live):
            yield from _networks(getattr(live, field.name))


def _layers(module: Any) -> Iterator[Any]:
    import torch

    for child in module.children():
        if isinstance(child, torch.nn.ModuleList):
            yield from child
        else:
            yield from _layers(child)
