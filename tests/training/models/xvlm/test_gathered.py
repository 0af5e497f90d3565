"""Two ranks with half of the pairs each have the gradient of one with all, or half of it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.training import two_ranks
from tests.training.models.xvlm.ranks import gradient


def test_the_gathered_loss_has_the_gradient_of_one_rank(tmp_path: Path) -> None:
    two_ranks.run("tests.training.models.xvlm.ranks", tmp_path)
    found = load_file(tmp_path / "gradients.safetensors")
    alone = gradient(True, 0, 1)
    torch.testing.assert_close(found["exact"], alone, rtol=1e-4, atol=1e-6)
    # Only the rank's own rows of its own loss: smaller by the number of ranks.
    torch.testing.assert_close(found["release"], alone / 2, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradient(False, 0, 1), alone)
