"""The file system of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import png
from tests.remote.troubled import FILES, TroubledFiles


@pytest.fixture(autouse=True)
def remote() -> Iterator[type[TroubledFiles]]:
    """Six pictures and no trouble."""
    TroubledFiles.files.update({name: png(index) for index, name in enumerate(FILES)})
    yield TroubledFiles
    for kept in (TroubledFiles.files, TroubledFiles.troubles, TroubledFiles.gone):
        kept.clear()
