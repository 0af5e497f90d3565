"""AdamW: which parameters decay, how fast each learns, how the rate moves over a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from grand_pipeline.errors import SettingsError

Curve = Literal["linear", "cosine", "constant", "annealed"]
_TABLE = re.compile(r"(embed|embedding|embeddings|position|positions|token|tokens|bias_table)$")
"""Last part of the name of parameters that are looked up or added, as embeddings are."""


@dataclass(frozen=True)
class AdamW:
    """The optimizer of a run.

    The rate rises in a line from `warmup_from` to `lr` over `warmup` steps and then follows
    `curve` down to `floor` at the last step: "linear", "cosine", or "constant" (no descent).
    "annealed" multiplies the warm-up with one cosine over the whole run. `multipliers` scale the
    rate of parameters by the beginning of their names; the longest match counts, and 0 freezes.
    Biases, norms and scales never decay; embeddings only with `decay_embeddings`.
    """

    lr: float
    weight_decay: float = 0.05
    warmup: int = 0
    warmup_from: float = 0.0
    floor: float = 0.0
    curve: Curve = "cosine"
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    multipliers: Mapping[str, float] = field(default_factory=dict)
    decay_embeddings: bool = False


def rate(settings: AdamW, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`, before multipliers."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    if settings.curve == "annealed":
        spent = min(1.0, step / max(steps, 1))
        return settings.lr * warm * 0.5 * (1 + math.cos(math.pi * spent))
    if step < settings.warmup:
        return settings.warmup_from + (settings.lr - settings.warmup_from) * warm
    if settings.curve == "constant":
        return settings.lr
    spent = min(1.0, (step - settings.warmup) / max(steps - settings.warmup, 1))
    left = 1 - spent if settings.curve == "linear" else 0.5 * (1 + math.cos(math.pi * spent))
    return settings.floor + (settings.lr - settings.floor) * left


def adamw(model: nn.Module, settings: AdamW) -> torch.optim.AdamW:
    """The optimizer of all parameters of `model` that require gradients.

    Each group holds `names` beside `params`, its `factor` of the rate and its `weight_decay`.

    Raises:
        SettingsError: nothing is to be trained, or a multiplier matches no parameter.
    """
    tables = _tables(model)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    unused = set(settings.multipliers)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        prefix = max((p for p in settings.multipliers if name.startswith(p)), key=len, default=None)
        unused.discard(prefix or "")
        factor = 1.0 if prefix is None else settings.multipliers[prefix]
        looked_up = name in tables or _TABLE.search(name) is not None
        decays = parameter.ndim >= 2 and (settings.decay_embeddings or not looked_up)
        decay = settings.weight_decay if decays else 0.0
        group = groups.setdefault(
            (factor, decay), {"params": [], "names": [], "factor": factor, "weight_decay": decay}
        )
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups or unused:
        parts = sorted({name.partition(".")[0] for name, _ in model.named_parameters()})
        wrong = f"multipliers match nothing: {sorted(unused)}" if unused else "nothing is trained"
        raise SettingsError(f"optimizer: {wrong}; names begin with {', '.join(parts)}")
    return torch.optim.AdamW(
        list(groups.values()), lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True
    )


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the rate of every group to its factor of `value`."""
    for group in optimizer.param_groups:
        group["lr"] = value * group["factor"]


def named(optimizer: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """The parameters of an optimizer by their names."""
    return {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }


def _tables(model: nn.Module) -> set[str]:
    """Names of the weights of embedding layers."""
    return {
        f"{name}.weight".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    }
