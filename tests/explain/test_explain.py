"""What `grand explain` says of a run, from the run alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from grand_pipeline import cli
from grand_pipeline.errors import UserError
from grand_pipeline.explain import Story, explain, tell
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.store import Run
from tests.explain import runs

IMAGE = "ab"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runs.build(tmp_path_factory.mktemp("explain"))


def said(story: Story, name: str) -> str:
    (aspect,) = (one for one in story.aspects if one.name == name)
    return "\n".join((*aspect.lines, f"by {aspect.by.text()}"))


def names(story: Story) -> list[str]:
    return [aspect.name for aspect in story.aspects]


@pytest.mark.parametrize(
    "name",
    [
        "ab" * 16,
        "ab",
        "abab",
        "/pictures/one/dog.png",
        "one/dog.png",
        "copy.png",
        "/pictures/copy.png",
    ],
)
def test_an_image_is_found_by_id_or_path(run: Run, name: str) -> None:
    assert explain(run, name).facts["image_id"] == "ab" * 16


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a", ("fits 2 images", "ab" * 16, "two/dog.png")),
        ("dog.png", ("fits 2 images",)),
        ("dag.png", ("no image 'dag.png' among its 3", "dog.png")),
        ("", ("no image ''",)),
    ],
)
def test_an_ambiguous_or_unknown_image_lists_near_ones(
    run: Run, name: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as raised:
        explain(run, name)
    assert all(word in str(raised.value) for word in words)


def test_an_unknown_object_lists_those_there_are(run: Run) -> None:
    with pytest.raises(UserError, match=r"has no object 9; its objects are 0 to 4"):
        explain(run, IMAGE, 9)


def test_votes_name_their_boxes_and_the_model_behind_them(run: Run) -> None:
    story = explain(run, IMAGE, 0)
    lines = said(story, "votes").splitlines()
    first = "a  dog   0.75  IoU 1.00  box 10 10 40 40  open_detection.a (m/open_detection)"
    assert lines[0] == first
    assert lines[1].split()[:5] == ["b", "Dogs", "0.50", "IoU", "0.88"]
    assert story.json()["votes"]["data"][1] == {
        "source": "b",
        "label": "Dogs",
        "score": 0.5,
        "box": runs.DOG_B,
        "iou": pytest.approx(0.875),
        "column": "detections.b",
        "stage": "open_detection.b",
    }


def test_enough_votes_make_an_object(run: Run) -> None:
    assert said(explain(run, IMAGE, 0), "status") == (
        "object: 2 sources (a, b), 2 needed\nby fusion: min_votes=2, single_vote_score=null"
    )


def test_a_single_vote_floats(run: Run) -> None:
    assert said(explain(run, IMAGE, 3), "status").startswith("floating: 1 source (b), 2 needed")


def test_a_promoted_object_names_the_grounder(run: Run) -> None:
    story = explain(run, IMAGE, 1)
    assert said(story, "status").startswith(
        "object: promoted: a caption's phrase confirms it, g (kite 0.62)"
    )
    assert story.json()["votes"]["data"][1]["column"] == "phrase_boxes.g"
    assert "box of g 0.62, IoU 1.00" in said(story, "phrases")


def test_a_caption_born_object_has_no_detection(run: Run) -> None:
    story = explain(run, IMAGE, 4)
    assert "only a caption knows it: box of g (ball 0.50)" in said(story, "status")
    assert "score -" in story.title


def test_detections_near_an_object_tell_why_they_are_no_votes(run: Run) -> None:
    near = said(explain(run, IMAGE, 0), "near it")
    assert "suppressed by dog 0.75 (fusion.nms_iou=0.6)" in near
    assert "votes for cat #3: IoU below fusion.group_iou=0.7" in near


def test_every_detection_has_its_fate(run: Run) -> None:
    data = explain(run, IMAGE).json()["detections"]["data"]
    assert [(one["source"], one["fate"], one["object"]) for one in data] == [
        ("a", "vote", 0),
        ("a", "suppressed", None),
        ("a", "vote", 1),
        ("a", "weak", None),
        ("a", "vote", 2),
        ("a", "surplus", None),
        ("b", "vote", 0),
        ("b", "vote", 3),
        ("b", "unusable", None),
    ]


def test_masks_say_which_automatic_mask_they_are(run: Run) -> None:
    dog = said(explain(run, IMAGE, 0), "mask")
    assert dog.startswith("an automatic mask, quality 0.75, 900 px, 100% of the box's area")
    assert "automatic mask 0 of 1  IoU 1.00  quality 0.75  taken" in dog
    kite = said(explain(run, IMAGE, 1), "mask")
    assert kite.startswith("a box prompt, quality 0.50")
    assert "IoU 0.00  quality 0.75  below masks.match_iou=0.65" in kite
    assert "by masks (m/masks): prefer=auto, match_iou=0.65" in kite


def test_labels_say_what_they_were_chosen_among(run: Run) -> None:
    story = explain(run, IMAGE, 0)
    assert said(story, "label") == (
        "puppy, the only word among the votes\nfusion had called it dog\nby labels"
    )
    assert "none was assigned" in said(explain(run, IMAGE, 3), "label")


def test_depth_layer_and_group(run: Run) -> None:
    story = explain(run, IMAGE, 3)
    assert said(story, "depth") == (
        "0.500: the median inside the mask (larger = nearer)\nby depth (m/depth)"
    )
    assert "at 0.50 of the way from dog #0 (0.750) to kite #1 (0.250)" in said(story, "layer")
    assert "0, with dog #0 (centres of a layer less than 20 px apart)" in said(story, "group")


def test_texts_about_an_object(run: Run) -> None:
    story = explain(run, IMAGE, 0)
    assert said(story, "attributes").startswith("red  attributes.x (m/attributes)")
    assert said(story, "phrases").startswith('"a dog"  caption s  by its label')
    assert said(story, "captions").startswith('s  "a dog"  [0, 5)')
    assert said(story, "relations").startswith("puppy #0  left of  kite #1  geometry")
    assert said(story, "scene graph").startswith("[0] dog (red)")
    dense = said(story, "dense caption")
    assert '"A dog"    [0, 5)    the model\'s own reference' in dense
    assert '"The dog"  [15, 22)  matched by its words' in dense
    assert "left out: score 0.50 below 0.75" in said(explain(run, IMAGE, 1), "scene graph")
    assert "left out: it floats" in said(explain(run, IMAGE, 3), "scene graph")


def test_the_image_lists_objects_floating_ones_and_texts(run: Run) -> None:
    story = explain(run, IMAGE)
    assert "#0  puppy (red)  0.88  votes of a+b  mask: auto 0.75" in said(story, "objects")
    assert "1 source (b), 2 needed" in said(story, "floating")
    assert said(story, "tags").startswith("t: park 0.75")
    assert "Park scene: Meadow" in said(story, "landmark")
    assert '"a kite"  #1' in said(story, "caption s")
    assert said(story, "duplicates").startswith("/pictures/copy.png")
    assert json.loads(json.dumps(story.json()))["context"]["data"] == "Dogs bark."


def test_a_failed_image_says_which_stage_failed_and_who_waits(run: Run) -> None:
    story = explain(run, "ac")
    assert "fusion              failed" in said(story, "stages")
    assert "ValueError: boom" in said(story, "stages")
    assert said(story, "objects") == "failed: ValueError: boom\nby fusion"
    assert said(story, "context").startswith("skipped: fusion gave it nothing")
    with pytest.raises(UserError, match="has no objects"):
        explain(run, "ac", 0)


def test_an_unreadable_image_says_so(run: Run) -> None:
    assert said(explain(run, "broken.png"), "unreadable").startswith("not a picture")


def test_a_partial_run_says_what_is_missing(tmp_path: Path) -> None:
    partial = runs.build(tmp_path, ("open_detection.a", "open_detection.b", "fusion"), "fusion")
    story = explain(partial, IMAGE, 0)
    note = "missing: not computed yet; the last build ended at fusion"
    for name in ("label", "mask", "depth", "phrases", "relations", "dense caption"):
        assert said(story, name).startswith(note), name
    assert "captions" not in names(story)
    assert said(explain(partial, IMAGE, 1), "status").startswith("floating: 1 source (a)")
    empty = explain(runs.build(tmp_path / "empty", ()), IMAGE)
    assert said(empty, "objects").startswith("missing")
    assert "detections" not in names(empty)


def test_changed_options_make_a_stage_and_its_children_stale(tmp_path: Path) -> None:
    run = runs.build(tmp_path)
    older = {**runs.FUSION, "min_votes": 3}
    runs.commit(run, "00000", "fusion", runs.VALUES["fusion"], older)
    stages = explain(run, IMAGE).json()["stages"]["data"]
    assert (stages["fusion"]["condition"], stages["fusion"]["note"]) == (
        "stale",
        "option min_votes changed since",
    )
    assert stages["linking"]["condition"] == "stale"
    assert stages["masks"]["condition"] == "done"
    assert stages["fusion"]["options"]["min_votes"] == 3, "those that made the values"


def test_other_fusing_stages_are_explained_by_their_own_options(tmp_path: Path) -> None:
    run = runs.build(tmp_path, [key for key in runs.VALUES if key != "fusion"])
    given = {**runs.VALUES["open_detection.a"]}
    ((column, found),) = given.items()
    given[column] = (replace(found[0], score=0.7525), *found[1:])
    runs.commit(run, "00000", "open_detection.a", given, {})
    rules = {
        "floor": 0.1,
        "nms_iou": 0.9,
        "other_threshold": 0.3,
        "decimals": 2,
        "single_person": [],
    }
    runs.commit(run, "00000", "grand_v1_fusion", runs.VALUES["fusion"], rules)
    story = explain(run, IMAGE, 0)
    assert said(story, "votes").startswith("a  dog   0.75  IoU 1.00"), "rounded scores are found"
    alone = explain(run, IMAGE, 3)
    assert said(alone, "status").endswith(
        "by grand_v1_fusion (m/grand_v1_fusion): single_person=[]"
    )
    assert "suppressed by dog 0.75 (grand_v1_fusion.nms_iou=0.9)" in said(story, "near it")


def test_a_run_that_no_stage_made_is_refused(tmp_path: Path) -> None:
    render_dataset(tmp_path / "w", 1, 5)
    with pytest.raises(UserError, match="was not made by grand build"):
        explain(Run.open(tmp_path / "w" / "truth"), "0")


def test_piped_text_is_plain_and_fits(run: Run) -> None:
    out = io.StringIO()
    tell(explain(run, IMAGE, 0), Console(file=out, width=70))
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert [line for line in lines if line != line.rstrip() or len(line) > 70] == []
    assert lines[0].startswith("puppy #0")


def test_the_command_prints_text_or_json(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["explain", str(run.root), "one/dog.png", "0"])
    assert "by fusion: min_votes=2" in capsys.readouterr().out
    cli.main(["explain", str(run.root), IMAGE, "--json"])
    assert json.loads(capsys.readouterr().out)["image_id"] == "ab" * 16


def test_nothing_heavy_is_loaded(run: Run) -> None:
    code = (
        "import sys\nfrom grand_pipeline import cli\n"
        f"cli.main(['explain', {str(run.root)!r}, 'abab', '0'])\n"
        "print(*[n for n in ('torch', 'ray', 'transformers', 'spacy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
