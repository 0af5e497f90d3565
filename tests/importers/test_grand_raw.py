"""Predictions of GranD's models as columns: values, names, and everything that can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from grand_pipeline import columns
from grand_pipeline.columns import Column
from grand_pipeline.errors import UserError
from grand_pipeline.generation import Generation
from grand_pipeline.geometry import rle_decode
from grand_pipeline.importers.grand_raw import import_raw
from grand_pipeline.importers.intake import Order
from grand_pipeline.importers.notes import Report
from grand_pipeline.store import ERROR, SKIPPED, Run
from grand_pipeline.types import Landmark, Phrase, PhraseBox, RegionText, Tag
from tests.importers.raw_world import (
    CAPTION,
    DOG,
    FIRST,
    HEIGHT,
    SECOND,
    WIDTH,
    mask,
    pictures,
    predictions,
    seen,
    write,
)

DOG_BOX, BALL_BOX = (10.0, 20.0, 90.0, 80.0), (120.0, 40.0, 150.0, 70.0)


def bring(root: Path, *, images: bool = True) -> tuple[Run, Report]:
    named = [str(root / "images")] if images else []
    report = import_raw(root / "pred", Order(root / "run", named))
    return Run.open(root / "run"), report


def told(run: Run, key: str, column: Column[Any], name: str = FIRST) -> Any:
    """The decoded value of a column for the image called `name`."""
    ids = {Path(row.uri).name: row.image_id for row in run.images()}
    return dict(run.column(f"imported.{key}", column)).get(ids[name])


@pytest.fixture
def world(tmp_path: Path) -> Path:
    pictures(tmp_path / "images")
    predictions(tmp_path / "pred")
    return tmp_path


def test_every_model_s_words_become_columns(world: Path) -> None:
    run, report = bring(world)
    assert report.images == 2 and report.failed == 0 and report.without_file == 0
    assert told(run, "tag2text", columns.TAGS.of("tag2text")) == (
        *(Tag("ball", pytest.approx(0.9), "tag2text"), Tag("dog", pytest.approx(0.7), "tag2text")),
    )
    assert told(run, "landmark", columns.LANDMARK) == Landmark("Outdoor scene", "Rural", "llava")
    dog, ball = told(run, "co_detr", columns.DETECTIONS.of("co_detr"))
    assert (dog.box, dog.label, dog.mask) == (DOG_BOX, "dog", None)
    assert (ball.box, ball.label, ball.score) == (BALL_BOX, "sports_ball", pytest.approx(0.6))
    eva = told(run, "eva-02-01", columns.DETECTIONS.of("eva-02-01"))
    assert rle_decode(eva[0].mask).sum() == 80 * 60
    (text,) = told(run, "grit", columns.DETECTIONS.of("grit"))
    assert (text.label, text.box) == ("a brown dog", DOG_BOX)
    assert told(run, "owl_vit", columns.DETECTIONS.of("owl_vit")) == ()
    assert told(run, "blip2", columns.CAPTIONS.of("blip2")) == CAPTION
    assert told(run, "llava", columns.CAPTIONS.of("llava")) == SECOND
    answers = told(run, "gpt4roi", columns.DESCRIPTIONS.of("gpt4roi"))
    assert answers == (RegionText(DOG_BOX, "a dog that is brown"),), "GRiT's text is not repeated"
    chosen = told(run, "eva_clip", columns.LABEL_CHOICES.of("eva_clip"))
    assert chosen == (RegionText(BALL_BOX, "ball"),)
    context = Generation("", "Dogs like to play.", "vicuna-13B", "stop")
    assert told(run, "context", columns.CONTEXT) == context
    assert told(run, "dense_draft", columns.DENSE_DRAFT).answer.startswith("A brown dog stands")


def test_phrases_stand_where_the_captions_have_them(world: Path) -> None:
    run, report = bring(world)
    assert told(run, "mdetr-re", columns.PHRASES) == (
        Phrase("blip2", "a brown dog", "dog", 0, 11),
        Phrase("llava", "the dog's ball", "ball", 0, 14),
    )
    assert told(run, "mdetr-re", columns.PHRASE_BOXES.of("mdetr-re")) == (
        PhraseBox("a brown dog", DOG_BOX, None),
        PhraseBox("the dog's ball", BALL_BOX, None),
        PhraseBox("a cat", BALL_BOX, None),
    )
    assert report.changed.counts["phrases that stand in no caption, kept"] == 1
    (source,) = told(run, "mdetr-re", columns.SOURCES.of("mdetr-re"))
    assert '"a cat"' in source.text, "what changed is kept verbatim"
    assert told(run, "co_detr", columns.SOURCES.of("co_detr")) == (), "what did not is not"


def test_depth_has_its_range_again(world: Path) -> None:
    run, _ = bring(world)
    depth = told(run, "midas", columns.DEPTH_MAP).array()
    assert depth.shape == (HEIGHT, WIDTH)
    expected = np.linspace(-10, 245, WIDTH)
    assert np.abs(depth[50] - expected).max() < 5


def test_the_second_eva_is_known_by_its_folder(world: Path) -> None:
    run, report = bring(world)
    (dog,) = told(run, "eva-02-02", columns.DETECTIONS.of("eva-02-02"))
    assert dog.score == pytest.approx(0.85)
    assert report.changed.counts["files of eva-02-02 that say eva-02-01"] == 1


def test_an_image_without_a_file_is_told_from_one_without_finds(world: Path) -> None:
    run, report = bring(world)
    assert report.sources["pomp"] == {"imported": 1, "with nothing said": 1, "failed": 0}
    found = run.read("imported.pomp", "00000", ["detections.pomp", ERROR, SKIPPED])
    assert sorted(found["detections.pomp"], key=str) == [None, []]
    assert found[ERROR] == [None, None] and set(found[SKIPPED]) == {None, "import"}
    phrases = told(run, "mdetr-re", columns.PHRASES, "second.png")
    assert phrases == (), "an image without phrases has no MDETR file"


def test_without_images_they_are_known_by_name_and_by_what_has_their_size(world: Path) -> None:
    run, report = bring(world, images=False)
    assert report.without_file == 2
    sizes = {row.uri: (row.width, row.height, row.format) for row in run.images()}
    assert sizes == {FIRST: (WIDTH, HEIGHT, None), "second.png": (None, None, None)}
    assert len({row.image_id for row in run.images()}) == 2
    again, _ = bring(world, images=False)
    assert len(list(again.images())) == 2


def test_the_size_of_an_image_that_is_not_there_can_come_from_a_mask(tmp_path: Path) -> None:
    entry = seen(DOG, 0.9, "dog", sam_mask=mask(DOG))
    write(tmp_path / "pred" / "eva-02-01" / "first.json", {FIRST: {"eva-02-01": [entry]}})
    run, _ = bring(tmp_path, images=False)
    assert [(row.width, row.height) for row in run.images()] == [(WIDTH, HEIGHT)]


def test_bad_entries_are_counted_and_kept_verbatim(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    entries: list[Any] = [
        seen(DOG, 0.9, "dog"),
        seen([-3, 20, 260, 80], 0.8, "dog", sam_mask=mask(DOG, (HEIGHT, 50))),
        *(seen(DOG, float("nan"), "dog"), seen(DOG, 0.5, " "), seen([1, 2, 3], 0.5, "dog")),
        *(seen([300, 10, 400, 20], 0.5, "dog"), "dog"),
        {"bbox": DOG, "label": "dog"},
    ]
    write(tmp_path / "pred" / "co_detr" / "first.json", {FIRST: {"co_detr": entries}})
    entry = {"category": "", "fine_category": ""}
    write(tmp_path / "pred" / "landmark" / "first.json", {FIRST: {"landmark": entry}})
    tags = {"tags": ["dog", 5, "cat"], "scores": [0.5, 0.5]}
    write(tmp_path / "pred" / "ram" / "first.json", {FIRST: {"ram": tags}})
    run, report = bring(tmp_path)
    first, second = told(run, "co_detr", columns.DETECTIONS.of("co_detr"))
    assert first.box == DOG_BOX and second.box == (0, 20, 200, 80) and second.mask is None
    counts = report.changed.counts
    assert counts["detections without a label or a finite score, left out"] == 3
    assert counts["boxes cut to the image"] == 1
    assert counts["boxes that are not four numbers, left out"] == 1
    assert counts["boxes that are empty or outside the image, left out"] == 1
    assert counts["masks that do not fit their image, left out"] == 1
    assert counts["entries that are no objects, left out"] == 1
    assert counts["tags without a name or a finite score, left out"] == 2
    assert counts["images without any prediction"] == 1
    (source,) = told(run, "co_detr", columns.SOURCES.of("co_detr"))
    assert "NaN" in source.text
    assert report.sources["landmark"]["with nothing said"] == 2


@pytest.mark.parametrize(
    ("folder", "name", "content", "message"),
    [
        ("pomp", "first.json", "", "first.json' is not valid JSON"),
        ("pomp", "first.json", '{"first.jpg": {"pomp": [', "first.json' is not valid JSON"),
        ("pomp", "first.json", [], "should be an object, not a list"),
        ("pomp", "first.json", {"first.jpg": {"pomp": {}}, "x": {}}, "should have one key"),
        ("pomp", "first.json", {"first.jpg": {"pomp": 5}}, "'pomp' should be a list"),
        ("level-2-processed_gpt4roi", "first.json", {"first.jpg": {}}, "has no 'objects'"),
        ("level-2-processed_eva_clip", "first.json", {"4": "ball"}, "boxes are unknown"),
        ("midas", "first.jpg", "", "has no range"),
        ("midas", "first_min_0.0_max_1.0.jpg", "no picture", "not an image"),
    ],
)
def test_files_that_can_not_be_read_are_error_rows(
    tmp_path: Path, folder: str, name: str, content: Any, message: str
) -> None:
    pictures(tmp_path / "images")
    write(tmp_path / "pred" / folder / name, content)
    second = {"second.png": {"co_detr": [seen(DOG, 0.5, "dog")]}}
    write(tmp_path / "pred" / "co_detr" / "second.json", second)
    run, report = bring(tmp_path)
    assert report.failed == 1
    key = folder.removeprefix("level-2-processed_")
    errors = run.read(f"imported.{key}", "00000", [ERROR])[ERROR]
    assert [message in error for error in errors if error] == [True]
    (dog,) = told(run, "co_detr", columns.DETECTIONS.of("co_detr"), "second.png")
    assert dog.label == "dog"


def test_predictions_without_image_are_named(world: Path) -> None:
    write(world / "pred" / "co_detr" / "lost.json", {"lost.jpg": {"co_detr": []}})
    write(world / "pred" / "co_detr" / "notes.txt", "hello")
    (world / "pred" / "level-1-raw").mkdir()
    run, report = bring(world)
    assert len(list(run.images())) == 2
    lost = "files of co_detr without image, not imported"
    assert report.changed.counts[lost] == 1
    assert report.changed.places[lost] == [str(world / "pred" / "co_detr" / "lost.json")]
    assert report.changed.places["folders that are not read"] == ["level-1-raw"]
    assert report.changed.counts["files that are no .json, not read"] == 1
    assert "lost.json" in report.text() and report.data()["images"] == 2


def test_a_folder_without_predictions_is_refused_and_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "pred" / "codetr").mkdir(parents=True)
    with pytest.raises(UserError, match=r"none of the folders.*co_detr.*it has: codetr"):
        bring(tmp_path, images=False)
    with pytest.raises(UserError, match="no folder of predictions"):
        import_raw(tmp_path / "absent", Order(tmp_path / "run"))
    (tmp_path / "pred" / "pomp").mkdir()
    with pytest.raises(UserError, match="hold no files to import: pomp"):
        bring(tmp_path, images=False)
    write(tmp_path / "pred" / "pomp" / "a.json", {"a.jpg": {}})
    with pytest.raises(UserError, match="images' does not exist"):
        bring(tmp_path)
    assert not (tmp_path / "run").exists()


def test_depth_beyond_half_precision_is_scaled(tmp_path: Path) -> None:
    (tmp_path / "pred" / "midas").mkdir(parents=True)
    white = Image.new("L", (30, 20), 255)
    white.save(tmp_path / "pred" / "midas" / "first_min_-1_max_131008.0.jpg")
    run, _ = bring(tmp_path, images=False)
    depth = told(run, "midas", columns.DEPTH_MAP, "first").array()
    assert np.isfinite(depth).all() and depth.max() == pytest.approx(65504)
