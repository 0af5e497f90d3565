"""Freed memory stays with the process."""

from __future__ import annotations

import gc
import platform
import resource
import subprocess
import sys
import weakref

import pytest

from grand_pipeline import heap

# Faults of twenty rounds, each of which touches and frees six blocks of 16 MB.
_PROGRAM = """
import resource, sys
from grand_pipeline import heap
if sys.argv[1] == "keep":
    assert heap.keep()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [b"x" * (16 * 2**20) for _ in range(6)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_large_blocks_are_used_again() -> None:
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", _PROGRAM, how], text=True))
        for how in ("keep", "free")
    }
    one_round = 6 * 16 * 2**20 / resource.getpagesize()
    assert faults["keep"] < 2 * one_round < 10 * one_round < faults["free"]


def test_says_whether_it_could() -> None:
    assert heap.keep() is (platform.libc_ver()[0] == "glibc")


def test_what_is_alive_is_hidden_from_the_collector_and_what_comes_later_is_not() -> None:
    heap.settle()
    try:
        assert gc.get_freeze_count() > 1000
        gone = weakref.finalize(later := Later(), lambda: None)
        later.ring = later
        del later
        gc.collect()
        assert not gone.alive
    finally:
        gc.unfreeze()


class Later:
    """Something that can hold itself."""

    ring: object = None
