"""No loss makes a tensor on another device than its batch.

There need be no GPU to see that: on the device "meta", as on a GPU, an operation refuses a tensor
of the CPU beside its own. (SigLIP and the language model choose rows by their values, which have
no values there.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.distributed import to_device
from training.recipes.picturebook import captioner, depth, detector, masks
from training.recipes.picturebook.recipe import Phase, Recipe
from training.recipes.picturebook.state import Schedule

META = torch.device("meta")
PHASES = tuple(
    Phase(name, Schedule(2, 2, 1e-3), frozen=name == "frozen") for name in ("frozen", "joint")
)
VIEW = detector.View(64, jitter=0.1, zoom=0.5)
TINY = detector.Variant(VIEW, width=32, layers=1, heads=1, text_width=32, text_layers=1)
RECIPES: dict[str, Callable[[], Recipe]] = {
    "detector": partial(detector.make_recipe, "owl", TINY, PHASES),
    "depth": partial(depth.make_recipe, depth.Variant(64, 32, 4, 1, 16), PHASES),
    "masks": lambda: masks.RECIPE,
    "captioner": lambda: captioner.RECIPE,
}


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
@pytest.mark.parametrize("name", RECIPES)
def test_a_loss_stays_on_the_device_of_its_batch(
    name: str, phase: Phase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # has no "meta"
    recipe = RECIPES[name]()
    model = recipe.model(phase).to(META)
    batch = to_device(recipe.batch(0, phase, tmp_path), META)
    terms = recipe.loss(model, batch)
    assert all(term.device == META for term in terms.values())
    torch.autograd.backward(terms["loss"])


def test_a_tensor_of_another_device_is_noticed() -> None:
    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        return (model(batch) * torch.arange(2)).sum()

    with pytest.raises(RuntimeError, match="device"):
        loss(nn.Linear(3, 2).to(META), torch.zeros(4, 3, device=META))
