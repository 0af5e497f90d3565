"""Settings of the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.world import build_world

# Tiny models gain nothing from threads, and threads that wait for each other on a busy core make
# the suite several times slower. Read by torch when it is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every run and machine, however slow the machine is.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `build_world` fills it. Tests that change the run take a copy of it."""
    root = tmp_path_factory.mktemp("world")
    build_world(root)
    return root
