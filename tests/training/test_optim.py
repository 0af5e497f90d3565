"""Which parameters decay, how fast each learns, how the rate moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from grand_pipeline.errors import SettingsError
from training.optim import AdamW, adamw, named, rate, set_rate


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.group_token = nn.Parameter(torch.zeros(2, 4))
        self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 4, bias=False)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def of(name: str, settings: AdamW) -> dict[str, float]:
    optimizer = adamw(Net(), settings)
    group = next(group for group in optimizer.param_groups if name in group["names"])
    return {"decay": group["weight_decay"], "factor": group["factor"]}


def test_matrices_decay_and_nothing_else() -> None:
    settings = AdamW(1e-3, weight_decay=0.1)
    decays = {name: of(name, settings)["decay"] for name in named(adamw(Net(), settings))}
    assert decays == {
        "words.weight": 0.0, "group_token": 0.0, "body.0.weight": 0.1, "body.0.bias": 0.0,
        "body.1.weight": 0.0, "body.1.bias": 0.0, "head.weight": 0.1,
    }  # fmt: skip
    every = AdamW(1e-3, weight_decay=0.1, decay_embeddings=True)
    assert of("words.weight", every)["decay"] == 0.1 and of("body.1.weight", every)["decay"] == 0


def test_the_longest_prefix_sets_the_rate() -> None:
    settings = AdamW(1e-3, multipliers={"body": 0.5, "body.1": 0.1, "head": 2.0})
    assert [of(name, settings)["factor"] for name in ("body.0.bias", "body.1.bias")] == [0.5, 0.1]
    assert of("head.weight", settings)["factor"] == 2 and of("group_token", settings)["factor"] == 1
    optimizer = adamw(Net(), settings)
    set_rate(optimizer, 1e-2)
    rates = {n: g["lr"] for g in optimizer.param_groups for n in g["names"]}
    assert rates["head.weight"] == pytest.approx(2e-2)
    assert rates["body.1.weight"] == pytest.approx(1e-3)


def test_a_multiplier_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"\['tail'\]; names begin with body, frozen"):
        adamw(Net(), AdamW(1e-3, multipliers={"tail": 0.5}))
    with pytest.raises(SettingsError, match="nothing is trained"):
        adamw(Net().requires_grad_(False), AdamW(1e-3))


def test_x_vlm_s_rate() -> None:
    settings = AdamW(1e-4, warmup=2500, warmup_from=1e-5, floor=1e-5, curve="linear")
    assert rate(settings, 0, 200_000) == pytest.approx(1e-5, rel=0.01)
    assert rate(settings, 2499, 200_000) == rate(settings, 2500, 200_000) == 1e-4
    assert rate(settings, 101_250, 200_000) == pytest.approx(5.5e-5)
    assert rate(settings, 199_999, 200_000) == pytest.approx(1e-5, rel=1e-3)


def test_cosine_constant_and_annealed() -> None:
    cosine = AdamW(1.0, warmup=10, floor=0.1)
    assert rate(cosine, 10, 110) == 1 and rate(cosine, 60, 110) == pytest.approx(0.55)
    assert rate(cosine, 110, 110) == pytest.approx(0.1)
    assert rate(AdamW(1.0, curve="constant"), 77, 100) == 1
    annealed = AdamW(1.0, warmup=4, curve="annealed")
    assert rate(annealed, 0, 1000) == pytest.approx(0.25)
    assert rate(annealed, 500, 1000) == pytest.approx(0.5)
    assert rate(annealed, 1000, 1000) == 0
