"""The whole report: truth against itself, keys, joining, and runs on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline.errors import RunError
from grand_pipeline.evaluation import Extras, evaluate, evaluate_runs, text
from grand_pipeline.evaluation.report import COUNTS
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.types import Segment, Vote
from tests.evaluation.rows import row, scenes, thing

CONTRACT = (
    *("objects.ap50", "objects.ap", "objects.precision", "objects.recall", "objects.ap50_heldout"),
    *("objects.ap50_hypernyms", "masks.miou", "masks.coverage", "masks.ellipse_miou"),
    *("masks.auto_recall50", "depth.pair_order", "depth.pair_order_mean_map", "depth.delta1"),
    *("attributes.color_accuracy", "relations.f1", "phrases.accuracy"),
    *("captions.mention_precision", "captions.mention_recall"),
    *("dense_caption.no_invented_class", "dense_caption.facts_true", "dense_caption.mask_recall"),
    "spans.valid",
)
BELOW_ONE = (
    "masks.ellipse_miou",
    "depth.pair_order_mean_map",
    "depth.delta1_mean_map",
    "captions.mention_recall",
    "captions.mention_recall_truth",
    "masks.box_prompted_share",
)


def _truth_on_itself() -> dict[str, float | None]:
    rows, maps = scenes()
    segments = {
        r.image_id: tuple(Segment(o.box, o.mask, 1.0, 1.0) for o in r.objects if o.mask)
        for r in rows
    }
    return evaluate(rows, rows, Extras(segments, maps, maps))


def test_truth_is_perfect() -> None:
    scores = _truth_on_itself()
    wrong = {
        name: value
        for name, value in scores.items()
        if name not in COUNTS and name not in BELOW_ONE and value not in (None, 1.0)
    }
    assert wrong == {}


def test_baselines_are_not_perfect() -> None:
    scores = _truth_on_itself()
    for name in ("masks.ellipse_miou", "depth.pair_order_mean_map", "depth.delta1_mean_map"):
        value = scores[name]
        assert value is not None and 0.0 < value < 1.0, name


def test_all_names_of_the_contract_are_there() -> None:
    scores = evaluate([row()], [row(thing(0, "dog", (0, 0, 20, 20)))])
    assert [name for name in CONTRACT if name not in scores] == []
    assert all(value is None or isinstance(value, float) for value in scores.values())


def test_all_values_of_the_contract_are_there_on_scenes() -> None:
    scores = _truth_on_itself()
    assert [name for name in CONTRACT if scores[name] is None] == []


def test_nothing_found_scores_zero_and_undefined_is_none() -> None:
    scores = evaluate([row()], [row(thing(0, "dog", (0, 0, 20, 20)))])
    assert scores["objects.ap50"] == 0.0
    assert scores["objects.recall"] == 0.0
    assert scores["objects.precision"] is None
    assert scores["masks.miou"] is None


def test_images_are_joined_by_id() -> None:
    dog = thing(0, "dog", (0, 0, 20, 20))
    ours = [row(dog, name="1"), row(dog, name="7")]
    true = [row(dog, name="2"), row(dog, name="1"), row(dog, name="3")]
    scores = evaluate(ours, true)
    counts = (scores["images"], scores["images_missing"], scores["images_extra"])
    assert counts == (1.0, 2.0, 1.0)
    assert scores["objects.recall"] == 1.0


def test_no_common_image_is_an_error_that_helps() -> None:
    with pytest.raises(RunError, match="no image in common"):
        evaluate([row(name="1")], [row(name="2")])


def test_synonyms_and_plurals_are_the_same_class() -> None:
    true = row(thing(0, "dog", (0, 0, 20, 20)))
    assert evaluate([row(thing(5, "Puppy", (0, 0, 20, 20)))], [true])["objects.ap50"] == 1.0


def test_floating_objects_do_not_count_as_objects() -> None:
    true = row(thing(0, "dog", (0, 0, 20, 20)))
    scores = evaluate([row(thing(5, "dog", (0, 0, 20, 20), status="floating"))], [true])
    assert (scores["objects.ap50"], scores["objects.ap50_with_floating"]) == (0.0, 1.0)


def test_each_source_is_judged_by_its_own_votes() -> None:
    votes = (Vote("one", "dog", 0.9), Vote("two", "cat", 0.8))
    ours = row(thing(0, "dog", (0, 0, 20, 20), votes=votes))
    scores = evaluate([ours], [row(thing(0, "dog", (0, 0, 20, 20)))])
    assert (scores["objects.precision.one"], scores["objects.recall.one"]) == (1.0, 1.0)
    assert (scores["objects.precision.two"], scores["objects.recall.two"]) == (0.0, 0.0)


def test_stuff_stays_out_of_the_thing_scores() -> None:
    sky = thing(1, "sky", (0, 0, 64, 30), kind="stuff")
    dog = thing(0, "dog", (0, 40, 20, 60))
    scores = evaluate([row(sky)], [row(dog, sky)])
    assert (scores["objects.ap50"], scores["objects.ap50_stuff"]) == (0.0, 1.0)
    assert (scores["masks.miou"], scores["masks.stuff_miou"]) == (None, 1.0)


def test_held_out_pairs_need_the_color_too() -> None:
    box = (0.0, 0.0, 20.0, 20.0)
    true = row(thing(0, "dog", box, color="blue"))
    right = evaluate([row(thing(0, "dog", box, color="blue"))], [true])
    wrong = evaluate([row(thing(0, "dog", box, color="red"))], [true])
    assert (right["objects.ap50_heldout"], wrong["objects.ap50_heldout"]) == (1.0, 0.0)
    assert right["objects.ap50_seen_phrases"] is None
    assert (right["attributes.color_accuracy"], wrong["attributes.color_accuracy"]) == (1.0, 0.0)


def test_hypernyms_forgive_the_class() -> None:
    box = (0.0, 0.0, 20.0, 20.0)
    scores = evaluate([row(thing(0, "cat", box))], [row(thing(0, "dog", box))])
    assert (scores["objects.ap50"], scores["objects.ap50_hypernyms"]) == (0.0, 1.0)


def test_runs_on_disk(tmp_path: Path) -> None:
    run = render_dataset(tmp_path, 3, 5)
    scores = evaluate_runs(run.root, run)
    assert (scores["images"], scores["objects.ap"], scores["depth.delta1"]) == (3.0, 1.0, 1.0)
    assert scores["masks.auto_recall50"] is None


def test_the_table_groups_and_marks_what_is_unknown() -> None:
    lines = text({"images": 3.0, "objects.ap50": 0.5, "objects.ap": None}).splitlines()
    assert lines == [
        "  images         3",
        "",
        "objects",
        "  ap50       0.500",
        "  ap             -",
    ]
