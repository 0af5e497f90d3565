"""EVA-02-CLIP's tower against the same written out in numpy; its published sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tiny import densevlm as tiny
from training.models.densevlm.eva02 import Eva02, Eva02Sizes

L14 = Eva02Sizes(336, 14, 1024, 24, 16, 768)


class _ByHand:
    """The tower with the weights of `network`, one token and one head at a time."""

    def __init__(self, network: Eva02) -> None:
        self.sizes = network.sizes
        self.w = {name: v.double().numpy() for name, v in network.state_dict().items()}

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.asarray(x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0))

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return np.asarray(unit * self.w[f"{name}.weight"] + self.w[f"{name}.bias"])

    def turned(self, x: np.ndarray, side: int) -> np.ndarray:
        """One head's vectors (1 + T, d): each pair of channels of a patch by its angle."""
        half = x.shape[1] // 2
        found = x.copy()
        for place in range(side * side):
            for axis, at in enumerate(divmod(place, side)):
                for pair in range(half // 2):
                    angle = at / side * 16 / 10_000 ** (2 * pair / half)
                    a = axis * half + 2 * pair
                    u, v = x[1 + place, a], x[1 + place, a + 1]
                    found[1 + place, a] = u * np.cos(angle) - v * np.sin(angle)
                    found[1 + place, a + 1] = v * np.cos(angle) + u * np.sin(angle)
        return found

    def attend(self, name: str, x: np.ndarray, side: int) -> np.ndarray:
        width = self.sizes.width // self.sizes.heads
        mixed = np.zeros_like(x)
        parts = [self.linear(f"{name}.{part}", x) for part in ("query", "key", "value")]
        for head in range(self.sizes.heads):
            own = slice(head * width, (head + 1) * width)
            query, key = (self.turned(part[:, own], side) for part in parts[:2])
            raised = np.exp(query @ key.T / np.sqrt(width))
            mixed[:, own] = raised / raised.sum(1, keepdims=True) @ parts[2][:, own]
        return self.linear(f"{name}.out", self.norm(f"{name}.norm", mixed))

    def states(self, picture: np.ndarray, alone: bool) -> np.ndarray:
        size = self.sizes.patch_size
        side = picture.shape[1] // size
        kernel = self.w["patches.weight"].reshape(self.sizes.width, -1)
        cut = [
            picture[:, i * size : (i + 1) * size, j * size : (j + 1) * size].ravel()
            for i in range(side)
            for j in range(side)
        ]
        x = np.concatenate(
            [self.w["class_token"][0], np.array(cut) @ kernel.T + self.w["patches.bias"]]
        )
        x = x + self.w["positions"][0]
        for number in range(self.sizes.layers):
            at = f"blocks.{number}"
            normed = self.norm(f"{at}.attention_norm", x)
            if alone and number == self.sizes.layers - 1:
                value = self.linear(f"{at}.attention.value", normed)
                norm = self.norm(f"{at}.attention.norm", value)
                x = x + self.linear(f"{at}.attention.out", norm)
            else:
                x = x + self.attend(f"{at}.attention", normed, side)
            normed = self.norm(f"{at}.inner_norm", x)
            gate = self.linear(f"{at}.inner.gate", normed)
            made = gate / (1 + np.exp(-gate)) * self.linear(f"{at}.inner.rise", normed)
            x = x + self.linear(f"{at}.inner.fall", self.norm(f"{at}.inner.norm", made))
        return self.linear("head", self.norm("norm", x))


def test_patches_and_picture_are_those_of_a_computation_by_hand() -> None:
    network = tiny.network()
    shown = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    by_hand = _ByHand(network)
    with torch.no_grad():
        dense, whole = network.dense(shown), network.embed(shown)
    wanted = by_hand.states(shown[0].double().numpy(), alone=True)[1:].reshape(4, 4, -1)
    np.testing.assert_allclose(dense[0].numpy(), wanted, atol=1e-4)
    wanted = by_hand.states(shown[0].double().numpy(), alone=False)[0]
    np.testing.assert_allclose(whole[0].numpy(), wanted, atol=1e-4)


def test_another_side_gives_another_grid() -> None:
    with torch.no_grad():
        assert tiny.network().dense(torch.zeros(2, 3, 48, 64)).shape == (2, 6, 8, 6)


def test_features_of_patches_do_without_the_last_queries_and_keys() -> None:
    network = tiny.network()
    torch.autograd.backward(network.dense(torch.randn(1, 3, 32, 32)).sum())
    idle = {id(value) for part in network.idle for value in part.parameters()}
    for name, value in network.blocks.named_parameters():
        assert (value.grad is None) == (id(value) in idle), name


def test_towers_have_their_published_sizes() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in Eva02(s).parameters()) for s in (Eva02Sizes(), L14)]
    assert counts == [86_263_040, 304_432_832]
    assert [count / 1e6 for count in counts] == pytest.approx([86.26, 304.43], abs=0.01)
