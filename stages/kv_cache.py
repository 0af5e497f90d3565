"""Keys and values of a generation, written into a buffer instead of joined anew at every token.

The cache that transformers makes by default copies everything it holds for every new token, which
is most of a small model's time on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ROOM = 256
"""Tokens of room added whenever a buffer is full."""


@dataclass
class Append:
    """The `update` of a plain cache layer, whose keys and values become views of two buffers.

    `layer` is a `DynamicLayer`; states have the shape (batch, heads, tokens, head size).
    """

    layer: Any
    buffers: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens; returns all keys and all values."""
        layer = self.layer
        if not layer.is_initialized:
            layer.lazy_initialization(key_states, value_states)
        held, new = layer.get_seq_length(), key_states.shape[-2]
        if not self._fits(held, new):
            self.buffers = (
                _enlarged(layer.keys, key_states, held),
                _enlarged(layer.values, value_states, held),
            )
        assert self.buffers is not None
        keys, values = self.buffers
        keys[..., held : held + new, :] = key_states
        values[..., held : held + new, :] = value_states
        layer.keys, layer.values = keys[..., : held + new, :], values[..., : held + new, :]
        return layer.keys, layer.values

    def _fits(self, held: int, new: int) -> bool:
        """Whether the layer's tokens stand in the buffers, with room behind them."""
        if self.buffers is None or not held:
            return False
        # Whoever reorders or repeats a batch leaves tensors behind that are no views of a buffer.
        at_home: bool = self.buffers[0].data_ptr() == self.layer.keys.data_ptr()
        return at_home and held + new <= self.buffers[0].shape[-2]


def _enlarged(old: Tensor, fresh: Tensor, held: int) -> Tensor:
    """A buffer that begins with the `held` old tokens and has room for the fresh ones and more."""
    batch, heads, new, size = fresh.shape
    buffer = fresh.new_empty(batch, heads, held + new + ROOM, size)
    if held:
        buffer[..., :held, :] = old
    return buffer


def buffered(config: Any) -> Any:
    """An empty `DynamicCache` for a model of this configuration. Layers of other kinds than plain
    attention (sliding windows, states) stay as transformers makes them."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache(config=config)
    for layer in cache.layers:
        # An exact type: what derives from it behaves differently.
        if type(layer) is DynamicLayer:
            layer.update = Append(layer)
    return cache
