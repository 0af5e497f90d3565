from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grand_pipeline.compiling import compile_layers


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.inner[0](rows).relu()
        return found


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.body = nn.Module()
        self.body.layers = nn.ModuleList([Layer(), Layer()])

    def features(self, rows: Tensor) -> Tensor:
        """Another way into the network than its `forward`."""
        rows = self.first(rows)
        for layer in self.body.layers:  # type: ignore[union-attr]  # a list of layers
            rows = layer(rows)
        return rows


@dataclass(frozen=True)
class Inner:
    network: Any


@dataclass(frozen=True)
class Live:
    inner: Inner
    processor: Any = None


def test_layers_are_compiled_where_they_are_and_say_the_same() -> None:
    torch.manual_seed(0)
    network, seen = Network().eval(), list[Any]()

    def backend(graph: Any, inputs: Any) -> Any:
        seen.append(graph)
        return graph.forward

    rows = torch.randn(3, 4)
    with torch.inference_mode():
        plain = network.features(rows)
        assert compile_layers(Live(Inner(network)), backend) == 2
        assert not seen, "nothing is compiled before it is called"
        assert torch.equal(network.features(rows), plain)
    assert seen


@pytest.mark.parametrize("live", [None, Live(Inner("no network")), nn.Linear(1, 1)])
def test_what_has_no_layers_is_left_alone(live: Any) -> None:
    assert compile_layers(live) == 0
