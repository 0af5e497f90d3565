"""A module run by two processes under torchrun, as tests of what ranks share start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def launch(
    module: str, words: Sequence[str], options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """`python -m module WORDS` on two gloo ranks of this machine; `options` are torchrun's."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    return subprocess.run(
        [sys.executable, *run, "-m", module, *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )


def run(module: str, out: Path) -> None:
    """`python -m module OUT` on two ranks; fails with what they printed."""
    done = launch(module, [str(out)])
    assert done.returncode == 0, done.stderr[-2000:]
