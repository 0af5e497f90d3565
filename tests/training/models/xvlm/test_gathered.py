"""Two ranks with half of the pairs each have the gradient of one with all, or half of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.training.models.xvlm.ranks import gradient

ROOT = Path(__file__).parents[4]


def test_the_gathered_loss_has_the_gradient_of_one_rank(tmp_path: Path) -> None:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *words, "-m", "tests.training.models.xvlm.ranks", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = load_file(tmp_path / "gradients.safetensors")
    alone = gradient(True, 0, 1)
    torch.testing.assert_close(found["exact"], alone, rtol=1e-4, atol=1e-6)
    # Only the rank's own rows of its own loss: smaller by the number of ranks.
    torch.testing.assert_close(found["release"], alone / 2, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradient(False, 0, 1), alone)
