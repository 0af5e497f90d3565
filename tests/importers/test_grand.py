"""Finished GranD annotations of every revision, made up; and what can be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline import stats
from grand_pipeline.columns import (
    AFFORDANCES,
    DESCRIPTIONS,
    SOURCES,
    Annotation,
    NamedAttribute,
)
from grand_pipeline.errors import PlanError, UserError
from grand_pipeline.importers.grand import import_annotations
from grand_pipeline.importers.intake import Order
from grand_pipeline.importers.notes import Report
from grand_pipeline.store import ERROR, Run
from grand_pipeline.types import Context, Landmark, PhraseLink, RegionText, Vote
from tests.importers.raw_world import BALL, DOG, FIRST, HEIGHT, WIDTH, mask, pictures, write

CAPTION = "a dog plays with a red ball"
DENSE = "A brown dog plays with a red ball. The dogs toy is small."


def older() -> dict[str, Any]:
    """The revision of the shipped examples: bare captions, speakers, texts, `median_depth`."""
    return {
        "objects": [
            {"bbox": DOG, "labels": ["dog", "Dog_(animal)"], "score": 0.9, "id": 3,
             "attributes": ["a brown dog", "istant: a dog that is brown"], "median_depth": 8.5},
            {"bbox": BALL, "labels": ["toy"], "attributes": "Assistant: a red ball", "id": 7,
             "median_depth": -4.0},
            {"bbox": DOG, "labels": ["animal"], "attributes": ["istant: "], "id": 9},
        ],
        "floating_objects": [
            {"bbox": [-5, 0, 50, 50], "labels": ["sky", "sky"], "attributes": None, "id": 12},
        ],
        "floating_attributes": [{"bbox": DOG, "labels": [], "attributes": ["fur"]}],
        "landmark": {"category": "Outdoor scene", "fine_category": "Rural"},
        "affordances": {"Play": {"description": "", "object_ids": [99], "labels": ["ball"]}},
        "id_counter": 13,
        "relationships": {
            "object_ids": [3, 7], "floating_object_ids": [],
            "grounding": [
                {"phrase": "a dog", "object_ids": [3]},
                {"phrase": "a dog plays with a red ball", "object_ids": [3, 7, 50]},
                {"phrase": "a red ball", "object_ids": [7]},
                {"phrase": "a cat", "object_ids": [50]},
            ],
        },
        "captions": [CAPTION, "A red ball."],
    }  # fmt: skip


def newest() -> dict[str, Any]:
    """Level 4 of the published code: masks, assigned labels, grounded captions, context."""
    dog = {"bbox": DOG, "labels": ["dog"], "label": "dog", "score": 0.9, "id": 0, "depth": 8.5}
    dog |= {"attributes": ["a brown dog"], "segmentation": mask(DOG), "segmentation_source": "SAM"}
    ball = {"bbox": BALL, "labels": ["sports_ball", "toy"], "label": "sports_ball", "id": 1}
    ball |= {"depth": float("nan"), "attributes": None, "score": float("nan")}
    ball |= {"segmentation": mask(BALL), "segmentation_source": "HQ_SAM"}
    sky = {"bbox": [0, 0, 200, 20], "labels": ["the sky"], "id": 2, "attributes": None}
    sky |= {"segmentation": mask([0, 0, 200, 20]), "segmentation_source": "EVA"}

    def detail(phrase: str, offsets: Any, ids: list[int], boxes: Any) -> dict[str, Any]:
        return {"phrase": phrase, "tokens_positive": offsets, "ids": ids, "bbox": boxes}

    return {
        "objects": [dog, ball],
        "floating_objects": [sky],
        "landmark": "",
        "relationships": {"grounding": [{"phrase": "a dog", "object_ids": [0, 2]}]},
        "short_captions": [
            {"caption": CAPTION,
             "details": [{"phrase": "a dog", "tokens_positive": [0, 5], "id": 0, "bbox": DOG}]},
            {"caption": "nothing", "details": []},
        ],
        "dense_caption": {
            "caption": DENSE,
            "details": [
                detail("a brown dog plays", None, [0], [DOG]),
                detail("a red ball", [20, 30], [1], [BALL]),
                detail("brown dog", [2, 11], [0], [DOG]),
                detail("the moon", [0, 5], [0], [DOG]),
                detail("toy", [44, 47], [77], [BALL]),
                detail("", [0, 0], [0], [DOG]),
            ],
        },
        "additional_context": "Dogs were tamed early.",
    }  # fmt: skip


def bring(root: Path, *files: Any, images: bool = False) -> tuple[Run, Report]:
    named = [str(root / "images")] if images else []
    paths = list(files) or [root / "annotations"]
    report = import_annotations(paths, Order(root / "run", named))
    return Run.open(root / "run"), report


def one(root: Path, annotation: Any, name: str = FIRST) -> tuple[Annotation, Report]:
    """The published row of a single annotation."""
    path = write(root / "annotations" / "first.json", {name: annotation})
    run, report = bring(root, path)
    (row,) = run.annotations()
    return row, report


def cut(text: str, found: Any) -> list[str]:
    return [text[span.start : span.end] for span in found]


def test_the_older_revision_is_published(tmp_path: Path) -> None:
    row, report = one(tmp_path, older())
    assert (row.uri, row.width, row.errors) == (FIRST, None, ())
    dog, ball, animal, sky = row.objects
    assert [(o.id, o.status) for o in row.objects] == [
        *((3, "object"), (7, "object"), (9, "object"), (12, "floating")),
    ]
    assert dog.label == "dog" and dog.score == pytest.approx(0.9) and dog.box == tuple(DOG)
    assert dog.votes == (Vote("grand", "dog", None), Vote("grand", "Dog_(animal)", None))
    assert dog.attributes == (
        NamedAttribute("grand", "a brown dog"),
        NamedAttribute("grand", "a dog that is brown"),
    )
    assert ball.attributes == (NamedAttribute("grand", "a red ball"),) and animal.attributes == ()
    assert ball.score is None and (dog.depth, ball.depth, animal.depth) == (8.5, -4.0, None)
    assert (dog.layer, ball.layer, animal.layer) == ("Immediate Foreground", "Background", None)
    assert sky.box == (0, 0, 50, 50) and sky.votes == (Vote("grand", "sky", None),)
    assert row.landmark == Landmark("Outdoor scene", "Rural", "grand")
    counts = report.changed.counts
    assert counts["boxes cut to the image"] == 1
    assert counts["attributes freed of a speaker's name"] == 2
    assert counts["attributes that are empty, left out"] == 1
    assert report.published


def test_bare_captions_are_grounded_by_their_phrases(tmp_path: Path) -> None:
    row, report = one(tmp_path, older())
    assert row.phrases == (
        PhraseLink("a dog", (3,), "blip2"),
        PhraseLink("a dog plays with a red ball", (3, 7), "blip2"),
        PhraseLink("a red ball", (7,), "blip2"),
    )
    first, second = row.captions
    assert (first.source, first.text) == ("blip2", CAPTION)
    assert cut(first.text, first.spans) == [CAPTION] and first.spans[0].object_ids == (3, 7)
    assert (second.source, cut(second.text, second.spans)) == ("llava", ["A red ball"])
    counts = report.changed.counts
    assert counts["references to objects that do not exist"] == 2
    assert counts["phrases without an object, left out"] == 1
    assert counts["spans inside longer ones, left out"] == 2


def test_the_newest_revision_is_published(tmp_path: Path) -> None:
    row, report = one(tmp_path, newest())
    assert (row.width, row.height) == (WIDTH, HEIGHT), "a mask knows the size"
    dog, ball, sky = row.objects
    assert [o.mask_source for o in row.objects] == ["auto", "box", "detector"]
    assert all(o.mask is not None and o.mask_score is None for o in row.objects)
    assert (ball.label, ball.depth, ball.layer, ball.score) == ("sports ball", None, None, None)
    assert (dog.depth, sky.label) == (8.5, "sky")
    assert row.landmark is None
    (first, _) = row.captions
    assert cut(first.text, first.spans) == ["a dog"]
    assert first.spans[0].object_ids == (0, 2), "all objects of the phrase, not the lowest only"
    assert row.phrases == (PhraseLink("a dog", (0, 2), "blip2"),)
    assert row.dense_caption is not None
    assert row.dense_caption.finish_reason == "stop" and not row.dense_caption.verified
    assert cut(DENSE, row.dense_caption.spans) == ["A brown dog plays", "a red ball"]
    assert row.context == Context("Dogs were tamed early.", "grand", "stop")
    counts = report.changed.counts
    assert counts["spans that did not cut out their phrase, found again"] == 2
    assert counts["phrases that their caption does not hold, without span"] == 1
    assert counts["spans without a phrase or an object, left out"] == 2
    assert counts["scores that are no finite number, left out"] == 1
    assert counts["depths that are no finite number, left out"] == 1


def test_a_span_may_name_all_its_objects(tmp_path: Path) -> None:
    annotation = newest()
    (detail,) = annotation["short_captions"][0]["details"]
    annotation["relationships"]["grounding"] = [{"phrase": "a dog", "object_ids": [0, 1, 2]}]
    detail["ids"] = [2, 0]
    row, _ = one(tmp_path, annotation)
    assert row.captions[0].spans[0].object_ids == (2, 0), "as it says, whatever the phrase means"
    assert row.phrases == (PhraseLink("a dog", (0, 1, 2), "blip2"),)
    annotation["relationships"]["grounding"] = []
    write(tmp_path / "annotations" / "first.json", {FIRST: annotation})
    run, _ = bring(tmp_path)
    assert [link.text for row in run.annotations() for link in row.phrases] == []


def test_affordances_and_floating_texts_are_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "annotations" / "first.json", {FIRST: older()})
    run, report = bring(tmp_path, path)
    ((_, found),) = run.column("imported.grand", AFFORDANCES)
    assert found == (), "no object is called ball"
    assert report.changed.counts["affordances without an object, left out"] == 1
    ((_, texts),) = run.column("imported.grand", DESCRIPTIONS.of("grand"))
    assert texts == (RegionText(tuple(DOG), "fur", None),)


def test_level_1_has_the_stem_as_key_and_no_texts(tmp_path: Path) -> None:
    level_1 = {key: older()[key] for key in ("objects", "floating_objects", "floating_attributes")}
    row, _ = one(tmp_path, level_1, "first")
    assert (row.uri, len(row.objects), row.captions, row.phrases) == ("first", 4, (), ())
    assert row.dense_caption is None and row.context is None and row.landmark is None


def test_ids_that_are_missing_or_taken_are_given_anew(tmp_path: Path) -> None:
    annotation = {
        "objects": [{"bbox": DOG, "labels": ["dog"], "id": 5}, {"bbox": DOG, "labels": ["cat"]}],
        "floating_objects": [{"bbox": BALL, "labels": ["ball"], "id": 5}, {"bbox": BALL, "id": -1}],
        "captions": ["a dog"],
        "relationships": {"grounding": [{"phrase": "a dog", "object_ids": [5]}]},
    }
    row, report = one(tmp_path, annotation)
    assert [(o.id, o.label) for o in row.objects] == [(5, "dog"), (6, "cat"), (7, "ball"), (8, "")]
    assert row.phrases == (PhraseLink("a dog", (5,), "grand_0"),)
    assert report.changed.counts["objects with no id of their own, given one"] == 3
    assert report.changed.counts["objects without any label"] == 1


def test_everything_stays_recoverable(tmp_path: Path) -> None:
    text = json.dumps({FIRST: older()}, indent=1)
    path = write(tmp_path / "annotations" / "first.json", text)
    run, _ = bring(tmp_path, path)
    ((_, sources),) = run.column("imported.grand", SOURCES.of("grand"))
    assert [(s.uri, s.text) for s in sources] == [(str(path), text)]


def test_of_several_files_of_an_image_the_most_complete_counts(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "level-4" / "first.json", {FIRST: newest()})
    write(tmp_path / "annotations" / "z-level-1" / "first.json", {"first": older()})
    run, report = bring(tmp_path)
    (row,) = run.annotations()
    assert row.context is not None
    ((_, sources),) = run.column("imported.grand", SOURCES.of("grand"))
    assert [Path(s.uri).parent.name for s in sources] == ["level-4", "z-level-1"]
    assert report.changed.counts["annotations behind a better one of their image"] == 1


def test_one_file_may_hold_many_images(tmp_path: Path) -> None:
    path = write(tmp_path / "all.json", {"a.jpg": older(), "b.jpg": newest(), "c.jpg": []})
    run, report = bring(tmp_path, path)
    assert sorted(row.uri for row in run.annotations()) == ["a.jpg", "b.jpg", "c.jpg"]
    for _, (source,) in run.column("imported.grand", SOURCES.of("grand")):
        assert len(json.loads(source.text)) == 1
    assert report.failed == 1


def test_annotations_meet_their_images_by_name(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    write(tmp_path / "annotations" / "first.json", {FIRST: newest()})
    write(tmp_path / "annotations" / "lost.json", {"lost.jpg": newest()})
    run, report = bring(tmp_path, images=True)
    rows = {Path(row.uri).name: row for row in run.annotations()}
    assert set(rows) == {FIRST, "second.png"}
    assert len(rows[FIRST].objects) == 3 and rows["second.png"].objects == ()
    assert report.changed.counts["annotations without image, not imported"] == 1
    assert report.changed.counts["images without an annotation"] == 1
    assert report.failed == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ([], "should be an object, not a list"),
        ({}, "it has no image"),
        ({FIRST: {"a": 1}}, "no GranD annotation: neither objects nor floating_objects; keys: 'a'"),
        ({FIRST: {"objects": {"0": 1}}}, "'objects' should be a list, not an object"),
        ({FIRST: {"objects": [], "captions": 7}}, "'captions' should be a list"),
    ],
)
def test_what_is_no_annotation_is_an_error_row(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path / "annotations" / "first.json", content)
    write(tmp_path / "annotations" / "good.json", {"good.jpg": newest()})
    run, report = bring(tmp_path)
    assert report.failed == 1
    errors = [e for e in run.read("imported.grand", "00000", [ERROR])[ERROR] if e]
    assert len(errors) == 1 and message in errors[0] and str(path) in errors[0]
    bad, good = sorted(run.annotations(), key=lambda row: len(row.objects))
    assert message in bad.errors[0].message and good.errors == ()


def test_odd_values_inside_an_annotation_do_not_stop_it(tmp_path: Path) -> None:
    annotation = {
        "objects": [
            "dog",
            {"bbox": None, "labels": ["dog"], "id": 1},
            {"bbox": DOG, "labels": "dog", "id": True, "attributes": {"a": 1}, "score": "high"},
            {"bbox": BALL, "labels": [None, 5], "id": 2**40, "segmentation": {"size": [1, 1]}},
        ],
        "floating_objects": None,
        "relationships": [],
        "captions": {"blip2": "A dog.", "llava": ""},
        "dense_caption": "A dog.",
        "additional_context": ["x"],
        "landmark": 5,
    }
    row, _ = one(tmp_path, annotation)
    assert [(o.id, o.label, o.score) for o in row.objects] == [(0, "dog", None), (1, "", None)]
    assert [c.text for c in row.captions] == ["A dog."]
    assert row.dense_caption is not None and row.dense_caption.spans == ()
    assert row.context is None and row.landmark is None and row.errors == ()


def test_texts_are_normal_and_spans_move_with_them(tmp_path: Path) -> None:
    caption = "a cafe\u0301 with a dog \U0001f436"
    detail = {"phrase": "a dog", "tokens_positive": [14, 19], "ids": [0], "bbox": [DOG]}
    annotation = {
        "objects": [{"bbox": DOG, "labels": ["dog"], "id": 0}],
        "dense_caption": {"caption": caption, "details": [detail]},
    }
    row, _ = one(tmp_path, annotation)
    assert row.dense_caption is not None
    assert row.dense_caption.text == "a caf\u00e9 with a dog \U0001f436"
    assert cut(row.dense_caption.text, row.dense_caption.spans) == ["a dog"]


def test_statistics_read_imported_rows(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "a.json", {"a.jpg": older()})
    write(tmp_path / "annotations" / "b.json", {"b.jpg": newest()})
    run, _ = bring(tmp_path)
    report = stats.stats(run.annotations(), run.images())
    assert report["images"]["annotated"] == 2 and report["objects"]["total"] == 7
    assert report["masks"]["source"] == {"auto": 1, "box": 1, "detector": 1}


def test_paths_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent' does not exist"):
        bring(tmp_path, tmp_path / "absent")
    (tmp_path / "annotations").mkdir()
    with pytest.raises(UserError, match=r"no \.json file"):
        bring(tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_column_has_one_writer(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "a.json", {"a.jpg": newest()})
    run, _ = bring(tmp_path)
    Run.create(run.root, {"name": "mine", "description": "", "stages": {"landmark": {}}})
    with pytest.raises(PlanError, match="'landmark' has two writers"):
        bring(tmp_path)
