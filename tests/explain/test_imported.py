"""What `grand explain` says of values that an import brought, and of GranD's rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grand_pipeline import columns as c
from grand_pipeline import geometry
from grand_pipeline.explain import Story, explain
from grand_pipeline.importers.grand import import_annotations
from grand_pipeline.importers.grand_raw import import_raw
from grand_pipeline.importers.intake import Order
from grand_pipeline.store import Run
from grand_pipeline.types import Affordance, Attribute, ObjectMask, Placement
from tests.explain import runs
from tests.explain.test_explain import names, said
from tests.importers.raw_world import FIRST, mask, pictures, predictions, write

IMAGE = "abab"
DOG = [10.0, 20.0, 90.0, 80.0]
ANNOTATION = {
    "objects": [
        {"bbox": DOG, "labels": ["dog", "animal"], "label": "dog", "score": 0.9, "id": 3,
         "depth": 8.5, "attributes": ["a brown dog"], "segmentation": mask(DOG)},
        {"bbox": [120, 40, 150, 70], "labels": ["ball"], "id": 7, "depth": 4.0},
    ],
    "floating_objects": [{"bbox": [0, 0, 50, 9], "labels": ["sky"], "id": 8}],
    "affordances": {"Pet": {"description": "", "object_ids": [3], "labels": ["dog"]}},
    "relationships": {"grounding": [{"phrase": "a dog", "object_ids": [3]}]},
    "short_captions": [
        {"caption": "a dog", "details": [{"phrase": "a dog", "tokens_positive": [0, 5], "id": 3}]}
    ],
    "dense_caption": {"caption": "A dog.", "details": [{"phrase": "A dog", "ids": [3]}]},
    "additional_context": "Dogs bark.",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("finished")
    path = write(root / "first.json", {FIRST: ANNOTATION})
    import_annotations([path], Order(root / "run"))
    return Run.open(root / "run")


def told(story: Story, name: str) -> str:
    """Without the decider."""
    return said(story, name).rpartition("\nby ")[0]


def decider(story: Story, name: str) -> str:
    return said(story, name).rpartition("\nby ")[2]


def test_a_finished_annotation_says_where_it_is_from(finished: Run) -> None:
    story = explain(finished, FIRST, 3)
    for name in ("status", "votes", "label", "mask", "depth", "phrases", "dense caption"):
        assert decider(story, name) == "imported from grand", name
    assert told(story, "status") == "object: as it was imported"
    assert "imported with the object" in told(story, "votes")
    assert told(story, "label") == "dog"
    assert told(story, "attributes") == "a brown dog  imported from grand"
    assert told(story, "mask").startswith("a mask that was imported, 4800 px")
    assert told(story, "depth") == "8.500: as it was imported (larger = nearer)"
    assert told(story, "layer").startswith("Immediate Foreground: at 0.00 of the way from dog #3")
    assert told(story, "phrases").endswith("as it was imported")
    assert '"A dog"  [0, 5)  as it was imported' in told(story, "dense caption")
    assert told(story, "affordances") == "Pet (dog)"
    assert told(explain(finished, FIRST, 8), "depth") == "none"
    assert told(explain(finished, FIRST, 8), "label") == "sky: none was assigned"


def test_the_image_of_a_finished_annotation(finished: Run) -> None:
    story = explain(finished, FIRST)
    assert decider(story, "objects") == "imported from grand"
    assert "as it was imported" in told(story, "floating")
    assert told(story, "caption grand_0").startswith("a dog")
    assert decider(story, "caption grand_0") == "imported from grand"
    assert decider(story, "dense caption") == "imported from grand"
    assert decider(story, "context") == "imported from grand"
    assert "detections" not in names(story)


def test_an_image_of_which_a_source_says_nothing(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    predictions(tmp_path / "pred")
    import_raw(tmp_path / "pred", Order(tmp_path / "run", [str(tmp_path / "images")]))
    story = explain(Run.open(tmp_path / "run"), "second.png")
    assert told(story, "landmark") == "skipped: the import has no file for this image"
    stages = story.json()["stages"]["data"]
    assert stages["imported.co_detr"]["condition"] == "done"
    assert stages["grand_v1_fusion"]["note"] == "not computed yet"


def test_grand_s_placement_goes_by_the_box_and_the_nodes(tmp_path: Path) -> None:
    run = runs.build(tmp_path, [key for key in runs.VALUES if key != "placement"])
    rules = {"cuts": [0.1, 0.6, 0.85], "group_distance": 200.0, "max_nodes": 1, "defects": []}
    places = {
        c.PLACEMENTS: (
            Placement(0, 0.5, "Immediate Foreground", 0),
            Placement(1, 0.25, "Immediate Foreground", 1),
            Placement(3, 0.5, "Immediate Foreground", 1),
        )
    }
    runs.commit(run, "00000", "grand_v1_placement", places, rules)
    story = explain(run, IMAGE, 1)
    assert "the median inside the box, of the map at the image's size" in told(story, "depth")
    # Only the dog, which has an attribute, is a node.
    assert "from dog #0 (0.500) to dog #0 (0.500), the range of the nodes" in told(story, "layer")
    assert "less than 200 px from that of the first" in told(story, "group")
    assert decider(story, "group") == "grand_v1_placement (m/grand_v1_placement): " + (
        "group_distance=200.0"
    )


def boxed(run: Run, *masks: ObjectMask, **options: object) -> Story:
    rules = {"prefer": "auto", "match_iou": 0.65, "boxes": "mask", "box_iou": 0.5, **options}
    runs.commit(run, "00000", "masks", {c.MASKS: masks}, rules)
    return explain(run, IMAGE, 0)


def test_a_box_that_came_from_the_mask_names_the_options(tmp_path: Path) -> None:
    run = runs.build(tmp_path)
    tight = runs.solid(runs.DOG_B)
    story = boxed(run, ObjectMask(0, tight, "auto", 0.75, geometry.rle_box(tight)))
    assert "published in place of the object's: 12 10 42 40" in told(story, "mask")
    assert decider(story, "mask") == (
        "masks (m/masks): prefer=auto, match_iou=0.65, boxes=mask, box_iou=0.5"
    )
    story = boxed(run, ObjectMask(0, runs.solid((10, 10, 20, 20)), "auto", 0.75))
    assert "the object keeps its own box: IoU 0.11 of the mask's is below masks.box_iou=0.5" in (
        told(story, "mask")
    )
    story = boxed(run, ObjectMask(0, tight, "auto", 0.75), boxes="detector")
    assert "box" not in told(story, "mask").splitlines()[-1]


def test_masks_without_a_model(tmp_path: Path) -> None:
    run = runs.build(tmp_path)
    filled = ObjectMask(0, runs.solid(runs.DOG), "box", 0.0)
    story = boxed(run, filled, model="", fill=True)
    assert told(story, "mask").startswith("the filled box: no mask fits it, and no model makes one")
    assert "boxes=" not in decider(story, "mask"), "a filled box gives no box"
    story = boxed(run, model="", fill=False)
    assert told(story, "mask") == "none: no mask that others made fits it"
    assert "fill=false" in decider(story, "mask")


def test_affordances_name_the_words(tmp_path: Path) -> None:
    run = runs.build(tmp_path)
    assert "affordances" not in names(explain(run, IMAGE, 0))
    use = Affordance("keep as a pet", "It lives here.", (0,), ("dog", "puppy"))
    runs.commit(run, "00000", "affordances", {c.AFFORDANCES: (use,)}, {"words": "votes"})
    assert said(explain(run, IMAGE, 0), "affordances") == (
        "keep as a pet (dog, puppy)\nby affordances (m/affordances): words=votes"
    )
    assert told(explain(run, IMAGE, 1), "affordances") == "none in the table"


def test_describers_confirm_objects_and_have_fates(tmp_path: Path) -> None:
    run = runs.build(tmp_path, [key for key in runs.VALUES if key != "linking"])
    dog = replace(runs.FUSED[0], votes=runs.FUSED[0].votes[:1])
    text = (Attribute(0, "b", "Dogs"),)
    values = {c.FUSED: (dog, *runs.FUSED[1:3]), c.ATTRIBUTES.of("b"): text}
    runs.commit(run, "00000", "fusion", values, {**runs.FUSION, "describers": ["b"]})
    story = explain(run, IMAGE, 0)
    assert told(story, "status") == "object: 1 source (a), confirmed by texts of b, 2 needed"
    found = explain(run, IMAGE).json()["detections"]["data"]
    assert [(d["fate"], d["why"]) for d in found if d["source"] == "b"] == [
        ("describes", "describes dog #0"),
        ("unused", "describes no object"),
        ("unusable", "no label, no score, or no box inside the image"),
    ]
