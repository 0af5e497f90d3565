from __future__ import annotations

import pytest

from grand_pipeline.columns import DETECTIONS, LANDMARK, SOURCES
from grand_pipeline.errors import UserError
from stages.level1.imported import Imported


def test_it_writes_what_was_imported() -> None:
    names = ("detections.pomp", "landmark", "sources.pomp")
    stage = Imported(source="pomp", columns=names, content=("a",))
    assert stage.key == "imported.pomp"
    assert stage.writes == (DETECTIONS.of("pomp"), LANDMARK, SOURCES.of("pomp"))
    assert stage.given and stage.reads == ()


def test_a_column_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no column 'detection'"):
        Imported(source="pomp", columns=("detection",))


def test_it_can_not_be_computed() -> None:
    stage = Imported(source="pomp")
    with pytest.raises(UserError, match=r"'imported\.pomp' was imported .* import it again"):
        stage.load("cpu")
    with pytest.raises(UserError, match="import it again"):
        stage.annotate(None, [])
