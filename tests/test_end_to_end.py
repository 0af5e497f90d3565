"""The default preset over scenes and some bad files, as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from grand_pipeline.columns import ANNOTATION_SCHEMA, Annotation
from grand_pipeline.geometry import rle_decode
from grand_pipeline.store import Run
from grand_pipeline.types import Span
from tests.world import SCENES, evaluate, grand

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),  # the first test of a session that needs the world builds it
    pytest.mark.filterwarnings("ignore"),  # Ray warns on its own
]


@pytest.fixture(scope="module")
def copied(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run once more, for tests that change it."""
    return shutil.copytree(world / "run", tmp_path_factory.mktemp("copied") / "run")


@pytest.fixture(scope="module")
def rows(world: Path) -> list[Annotation]:
    return list(Run.open(world / "run").annotations())


def readable(rows: list[Annotation]) -> list[Annotation]:
    return [row for row in rows if row.width is not None]


def test_every_file_is_accounted_for(world: Path, rows: list[Annotation]) -> None:
    report = json.loads(grand("status", world / "run", "--json"))
    counts = {k: report[k] for k in ("found", "annotated", "failed", "duplicate", "unreadable")}
    assert counts == {
        "found": SCENES + 4,
        "annotated": SCENES,
        "failed": 0,
        "duplicate": 1,
        "unreadable": 3,
    }
    assert all(s["stale"] == s["missing"] == s["failed"] == 0 for s in report["stages"].values())
    reasons = {Path(row.uri).name: row.errors[0] for row in rows if row.width is None}
    assert set(reasons) == {"torn.png", "empty.jpg", "notes.txt"}
    assert all(error.stage == "ingest" and error.message for error in reasons.values())


def test_the_published_files_have_exactly_the_contract_s_schema(world: Path) -> None:
    files = sorted((world / "run" / "annotations").glob("*.parquet"))
    assert [path.stem for path in files] == ["00000", "00001", "00002"]
    for path in files:
        assert pq.read_schema(path).equals(ANNOTATION_SCHEMA)


def test_every_scene_has_annotations_of_all_levels(rows: list[Annotation]) -> None:
    for row in readable(rows):
        assert row.objects and row.tags and row.landmark is not None
        assert len(row.captions) == 1 and row.captions[0].text
        assert row.scene_graph and row.dense_caption is not None and row.context is not None
    assert any(row.relations for row in readable(rows))
    assert any(row.phrases for row in readable(rows))


def test_every_object_is_whole(rows: list[Annotation]) -> None:
    for row in readable(rows):
        assert row.width is not None and row.height is not None
        assert len({o.id for o in row.objects}) == len(row.objects)
        for found in row.objects:
            x1, y1, x2, y2 = found.box
            assert 0 <= x1 < x2 <= row.width and 0 <= y1 < y2 <= row.height
            assert found.mask is not None and found.mask.size == (row.height, row.width)
            assert rle_decode(found.mask).any()
            assert found.votes and found.label
            assert found.depth is not None and found.layer is not None


def test_every_reference_and_span_holds(rows: list[Annotation]) -> None:
    for row in readable(rows):
        ids = {found.id for found in row.objects}
        assert row.dense_caption is not None
        texts: list[tuple[str, tuple[Span, ...]]] = [(c.text, c.spans) for c in row.captions]
        texts.append((row.dense_caption.text, row.dense_caption.spans))
        for text, spans in texts:
            for span in spans:
                assert 0 <= span.start < span.end <= len(text)
                assert text[span.start : span.end].strip() == text[span.start : span.end] != ""
                assert span.object_ids and set(span.object_ids) <= ids
        for phrase in row.phrases:
            assert set(phrase.object_ids) <= ids
        for relation in row.relations:
            assert {relation.subject, relation.object} <= ids


def test_building_again_does_nothing(world: Path) -> None:
    before = times(world / "run")
    grand("build", "--images", world / "images", "--out", world / "run")
    assert times(world / "run") == before


def test_scores_have_the_contract_s_keys(world: Path) -> None:
    scores = evaluate(world / "run", world / "truth")
    assert scores["images"] == SCENES
    assert scores["spans.valid"] == 1.0
    assert scores["masks.coverage"] == 1.0
    for key in ("objects.ap50", "relations.f1", "phrases.accuracy", "depth.pair_order"):
        assert 0 <= scores[key] <= 1
    truth = evaluate(world / "truth", world / "truth")
    assert truth["objects.ap50"] == 1.0, "the truth agrees with itself"


def test_pictures_are_drawn(world: Path) -> None:
    grand("show", world / "run", "--out", world / "pictures", "--limit", 8)
    names = {path.name for path in (world / "pictures").glob("*.png")}
    assert "contact_sheet.png" in names
    assert len(names) == 8 + 1


def test_rerun_touches_the_stage_and_its_descendants_only(copied: Path) -> None:
    before = times(copied)
    grand("rerun", "relations", "--run", copied, "--set", "relations.captions=true")
    changed = {path.parts[0] for path, stamp in times(copied).items() if before[path] != stamp}
    stages = {
        path.parts[1]
        for path, stamp in times(copied).items()
        if path.parts[0] == "stages" and before[path] != stamp
    }
    assert changed == {"stages", "annotations"}
    assert stages == {"relations", "scene_graph", "dense_caption", "dense_grounding", "context"}


def times(run: Path) -> dict[Path, int]:
    """Every published file of a run (relative path) and when it was written."""
    return {
        path.relative_to(run): path.stat().st_mtime_ns
        for path in run.rglob("*.parquet")
        if ".shelf" not in path.parts
    }


def test_a_rerun_that_can_not_fit_discards_nothing(copied: Path) -> None:
    before = times(copied)
    with pytest.raises(SystemExit) as stop:
        grand("rerun", "depth", "--run", copied, "--set", "depth.resources.gpus=99")
    assert stop.value.code == 2
    assert times(copied) == before
