"""Settings of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from grand_pipeline.storage import Place
from tests import buckets
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


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server with an empty bucket, for this process and its children."""
    with buckets.serving() as endpoint, buckets.configured(buckets.environment(endpoint)):
        yield endpoint


@pytest.fixture(params=["folder", "bucket"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a run may be: a folder, and a bucket behind a server."""
    if request.param == "folder":
        return tmp_path / "run"
    request.getfixturevalue("s3")
    return buckets.in_s3()
