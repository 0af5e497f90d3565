from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grand_pipeline import catalog, store
from grand_pipeline.columns import ANNOTATION_SCHEMA, Annotation
from grand_pipeline.errors import GrandError, RunError
from tests.training.data.made import add_shard, annotation, row, write_run
from training.data import contents, source, views
from training.data.rows import READS, Row
from training.data.source import Rows


def all_rows(rows: Rows) -> list[Row]:
    block = source.load(rows, range(len(rows.groups)))
    return source.rows_of(rows, block, rows.kept)


def test_rows_are_those_that_were_published(tmp_path: Path) -> None:
    run = write_run(tmp_path, [65, 2])
    rows = source.open_rows(
        run.root, [*(n for n in READS if n not in ("tags", "landmark", "context")), "tags?"]
    )
    assert len(rows) == 67
    assert [group.rows for group in rows.groups] == [64, 1, 2]
    for found, published in zip(all_rows(rows), run.annotations(), strict=True):
        expected = row(published)
        assert (found.image_id, found.uri, found.size) == (
            *(expected.image_id, expected.uri),
            expected.size,
        )
        for name in ("objects", "phrases", "relations", "captions", "dense_caption", "scene_graph"):
            assert getattr(found, name) == getattr(expected, name), name
        assert found.pixels().shape == (48, 64, 3)


def test_only_what_was_asked_for_is_read_and_the_rest_is_refused(tmp_path: Path) -> None:
    rows = views.require(write_run(tmp_path, [3]).root, views.image_caption)
    block = source.load(rows, [0])
    assert set(block.table.column_names) == {"image_id", "uri", "width", "height", "captions"}
    found = all_rows(rows)[0]
    assert [text.text for text in views.image_caption(found)]
    assert found.captions[0].spans == ()
    with pytest.raises(GrandError, match=r"'objects' of image .* was not read, only captions"):
        views.detection(found)
    boxes = views.require(tmp_path / "run", views.detection)
    assert all_rows(boxes)[0].objects[0].rle is None
    assert "votes" not in str(source.load(boxes, [0]).table.schema)
    with pytest.raises(GrandError, match=r"'objects\.mask' of image"):
        all_rows(boxes)[0].mask(all_rows(boxes)[0].objects[0])


def without_masks(made: Annotation) -> Annotation:
    return replace(made, objects=tuple(replace(o, mask=None) for o in made.objects))


def without_spans(made: Annotation) -> Annotation:
    return replace(
        made,
        captions=tuple(replace(c, spans=()) for c in made.captions),
        dense_caption=None,
        phrases=(),
    )


def test_a_content_that_is_missing_is_an_error_that_says_what_makes_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, [3], change=lambda made: without_masks(without_spans(made)))
    with pytest.raises(RunError) as caught:
        views.require(run.root, views.detection, views.segmentation)
    told = str(caught.value)
    assert "needs 'objects.mask'" in told and f"run '{run.root}'" in told
    assert "it has captions, objects, objects.attributes, relations, scene_graph" in told
    assert "The stage 'masks' makes it" in told
    with pytest.raises(RunError, match=r"'captions\.spans'.*stage 'linking'"):
        views.require(run.root, views.grounded_caption)
    with pytest.raises(RunError, match=r"'phrases'.*stage 'linking'"):
        views.require(run.root, views.referring)
    with pytest.raises(RunError, match=r"have no 'object\.mask'\. Did you mean 'objects\.mask'"):
        source.open_rows(run.root, ["object.mask"])
    texts = views.region_text(all_rows(views.require(run.root, views.region_text))[0])
    assert {text.kind for text in texts} == {"object", "relation"}


def test_contents_stages_and_views_name_what_there_is() -> None:
    assert set(contents.MAKERS) == set(contents.LEAVES)
    assert set(contents.MAKERS.values()) <= set(catalog.STAGES)
    for name in contents.LEAVES:
        assert name.partition(".")[0] in ANNOTATION_SCHEMA.names
    for view, needs in views.NEEDS.items():
        assert {*needs, *views.USES.get(view, ())} <= set(contents.LEAVES)


def test_pictures_without_a_size_are_left_out_and_counted(tmp_path: Path) -> None:
    run = write_run(tmp_path, [10], unreadable=[2, 5])
    rows = views.require(run.root, views.detection, exclude=lambda _, uri: uri.endswith("3.png"))
    assert (len(rows), rows.unreadable, rows.excluded) == (7, 2, 1)
    numbers = [int(Path(found.uri).stem) for found in all_rows(rows)]
    assert numbers == [0, 1, 4, 6, 7, 8, 9]
    with pytest.raises(
        RunError, match=r"no row to train on: of 10 published rows 2 have no .* 8 are"
    ):
        views.require(run.root, views.detection, exclude=lambda image_id, uri: True)


def test_a_run_that_is_not_there_or_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run directory: it has no run\.json"):
        views.require(tmp_path, views.detection)
    store.Run.create(tmp_path / "run", {})
    with pytest.raises(RunError, match="has no published rows in"):
        views.require(tmp_path / "run", views.detection)


def test_a_shard_that_changes_under_the_reader_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path, [5])
    rows = views.require(run.root, views.detection)
    path = run.fragment(store.ANNOTATIONS, "00000")
    path.unlink()
    with pytest.raises(RunError, match="can not be read"):
        source.load(rows, [0])
    (tmp_path / "other").mkdir()
    other = write_run(tmp_path / "other", [6])
    other.fragment(store.ANNOTATIONS, "00000").rename(path)
    with pytest.raises(RunError, match="is another than when it was opened"):
        source.load(rows, [0])


def test_a_run_in_a_bucket(tmp_path: Path) -> None:
    import fsspec

    local = write_run(tmp_path, [66, 3], embed=True)
    bucket = fsspec.filesystem("memory")
    bucket.put(str(local.root), "/bucket/run", recursive=True)
    try:
        rows = views.require("memory://bucket/run", views.segmentation, views.detection)
        near = views.require(local.root, views.segmentation, views.detection)
        assert rows.digest == near.digest and rows.embedded
        for far, here in zip(all_rows(rows), all_rows(near), strict=True):
            assert far.objects == here.objects
            assert np.array_equal(far.pixels(), here.pixels())
    finally:
        bucket.rm("/bucket", recursive=True)


def test_pictures_are_matched_with_their_rows(tmp_path: Path) -> None:
    run = write_run(tmp_path, [4], embed=True)
    add_shard(run, tmp_path, [9, 8, 7, 6], embed=True)
    run.images_path("00001").rename(run.images_path("00000"))
    rows = replace(
        views.require(write_run(tmp_path / "x", [4]).root, views.detection),
        run=str(run.root),
        embedded=True,
    )
    with pytest.raises(RunError, match="list other images: the run is damaged"):
        source.load(rows, [0])


def test_annotation_of_a_picture_without_a_size_is_no_row() -> None:
    with pytest.raises(ValueError, match="has no size"):
        row(annotation(size=None))
