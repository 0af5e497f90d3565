"""The truth run of a rendered set: contract files, joinable by image id, consistent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from grand_pipeline.columns import ANNOTATION_SCHEMA, DEPTH_MAP, Annotation
from grand_pipeline.errors import UserError
from grand_pipeline.geometry import rle_box, rle_decode
from grand_pipeline.picturebook import truth
from grand_pipeline.picturebook.render import render
from grand_pipeline.store import Run
from grand_pipeline.types import LAYERS

COUNT = truth.SHARD_SIZE + 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world") / "set"
    truth.render_dataset(out, COUNT, 17)
    return out


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Annotation]:
    return list(Run.open(folder / "truth").annotations())


def test_the_run_directory_has_the_contract_files(folder: Path) -> None:
    run = Run.open(folder / "truth")
    assert run.shards() == ["00000", "00001"]
    assert run.info()["preset"]["seed"] == 17
    table = pq.read_table(run.fragment("annotations", "00000"))
    assert table.schema.remove_metadata() == ANNOTATION_SCHEMA
    assert table.num_rows == truth.SHARD_SIZE


def test_rows_join_images_by_the_digest_of_their_bytes(
    folder: Path, rows: list[Annotation]
) -> None:
    files = sorted((folder / "images").iterdir())
    assert len(files) == len(rows) == COUNT
    digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:32] for file in files]
    assert digests == [row.image_id for row in rows]
    assert [Path(row.uri).name for row in rows] == [file.name for file in files]


def test_files_hold_the_rendered_pixels(folder: Path) -> None:
    scene = render(17, 1, held_out=True)
    with Image.open(folder / "images" / "000001.png") as image:
        assert np.array_equal(np.asarray(image), scene.image)


def test_objects_carry_masks_boxes_colours_and_depth(rows: list[Annotation]) -> None:
    for index in (0, 3):
        scene = render(17, index, held_out=True)
        for known, published in zip(scene.objects, rows[index].objects, strict=True):
            assert published.label == known.name and published.kind == known.kind
            assert published.box == known.box
            assert published.depth == pytest.approx(known.depth)
            assert published.mask is not None
            assert np.array_equal(rle_decode(published.mask), scene.ids == known.id)
            assert rle_box(published.mask) == published.box
            texts = [a.text for a in published.attributes]
            assert texts == ([known.color] if known.color else [])
            assert published.layer in LAYERS


def test_every_reference_exists_and_spans_are_exact(rows: list[Annotation]) -> None:
    for row in rows:
        ids = {o.id for o in row.objects}
        assert row.dense_caption is not None
        assert len(row.captions) == truth.CAPTIONS_PER_SCENE
        phrases = {p.text for p in row.phrases}
        for caption in row.captions:
            for span in caption.spans:
                assert caption.text[span.start : span.end] in phrases
                assert set(span.object_ids) <= ids
        for span in row.dense_caption.spans:
            assert set(span.object_ids) <= ids
        for relation in row.relations:
            assert {relation.subject, relation.object} <= ids
        assert row.landmark is not None and row.context is not None and row.scene_graph
        assert not row.errors


def test_depth_maps_come_back(folder: Path) -> None:
    run = Run.open(folder / "truth")
    maps = [value for _, value in run.column(truth.DEPTH_STEP, DEPTH_MAP)]
    assert len(maps) == COUNT
    exact = render(17, 2, held_out=True).depth
    assert np.allclose(maps[2].array(), exact, atol=1e-3)


def test_the_nearest_object_is_in_the_immediate_foreground() -> None:
    assert truth.depth_layers(np.array([1.0, 0.8, 0.3, 0.0])) == list(LAYERS)
    assert truth.depth_layers(np.array([0.4, 0.4])) == ["Foreground", "Foreground"]


def test_an_existing_set_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        truth.render_dataset(folder, 1, 0)
