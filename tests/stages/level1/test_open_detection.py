import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grand_pipeline import lock
from grand_pipeline.columns import DETECTIONS, QUERY_GROUPS, TAGS
from grand_pipeline.plan import make_plan
from grand_pipeline.types import Detection, FloatArray, Size, Tag
from grand_pipeline.worker import annotate_shard
from stages.detector import Scored
from stages.level1.open_detection import OpenDetection
from stages.texts import distinct
from tests.fakes import make_run
from tests.tiny.checkpoints import Builder, checkpoint
from tests.tiny.detectors import grounding_dino, mm_grounding_dino
from tests.tiny.records import ODD_SIZES, inside, record

BOXES = np.array(
    [[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30], [20, 20, 30, 30], [60, 5, 60, 9]], np.float32
)
SCORES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7], [0.6, 0.2], [0.99, 0.1]], np.float32)


class FixedBoxes:
    """A detector that gives the same boxes and scores to every image."""

    def __init__(self, scores: FloatArray = SCORES, groups: tuple[int, ...] = ()) -> None:
        self.scores, self.groups = scores, groups
        self.asked: list[list[str]] = []

    def score(
        self, images: Sequence[Any], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        self.asked += [list(asked) for asked in queries]
        return [Scored(BOXES, self.scores[:, : len(asked)], self.groups) for asked in queries]


def detections(stage: OpenDetection, model: Any) -> list[Detection]:
    (row,) = stage.annotate(model, [record()])
    return list(row[DETECTIONS.of("s")])


def test_box_gets_its_best_query_and_empty_boxes_go() -> None:
    stage = OpenDetection(source="s", queries=("cat", "dog"), nms=1.0, threshold=0.0)
    found = detections(stage, FixedBoxes())
    assert [(d.label, round(d.score, 2)) for d in found] == [
        ("cat", 0.9),
        ("cat", 0.8),
        ("dog", 0.7),
        ("cat", 0.6),
    ]


@pytest.mark.parametrize(
    ("per_label", "labels"), [(False, ["cat", "dog"]), (True, ["cat", "dog", "cat"])]
)
def test_suppression_across_labels_or_within_one(per_label: bool, labels: list[str]) -> None:
    stage = OpenDetection(source="s", queries=("cat", "dog"), nms=0.5, nms_per_label=per_label)
    assert [d.label for d in detections(stage, FixedBoxes())] == labels


def test_voting_averages_the_boxes_of_an_object_and_leaves_others() -> None:
    options = {"queries": ("cat", "dog"), "nms": 0.5, "source": "s"}
    plain = detections(OpenDetection(**options), FixedBoxes())  # type: ignore[arg-type]  # mixed
    voted = detections(OpenDetection(box_voting=0.5, **options), FixedBoxes())  # type: ignore[arg-type]  # mixed
    assert [d.label for d in voted] == [d.label for d in plain]
    assert 0 < voted[0].box[0] < 1 and voted[1].box == plain[1].box
    nothing = OpenDetection(box_voting=0.5, threshold=1.0, **options)  # type: ignore[arg-type]  # mixed
    assert detections(nothing, FixedBoxes()) == []


def test_threshold_and_limit() -> None:
    stage = OpenDetection(source="s", queries=("cat", "dog"), nms=1.0, threshold=0.75)
    assert len(detections(stage, FixedBoxes())) == 2
    assert len(detections(OpenDetection(source="s", queries=("cat",), max_boxes=1), FixedBoxes()))


def test_labels_are_words_as_given_and_texts_are_filled() -> None:
    stage = OpenDetection(source="s", queries=("fire_hydrant", "umbrella"))
    model = FixedBoxes()
    assert detections(stage, model)[0].label == "fire_hydrant"
    assert model.asked == [["a photo of a fire hydrant", "a photo of an umbrella"]]


def test_tags_of_all_taggers_join_the_queries() -> None:
    tags = {
        TAGS.of("one"): (Tag("cat", 0.9, "one"), Tag("dog", 0.8, "one")),
        TAGS.of("two"): (Tag("Dog", 0.9, "two"),),
    }
    model = FixedBoxes(np.tile(SCORES, (1, 2)))
    stage = OpenDetection(source="s", queries=("tree",), use_tags=True, template="{}")
    untagged = {TAGS.of("one"): ()}
    rows = stage.annotate(model, [record(values=tags), record(values=untagged)])  # type: ignore[arg-type]  # a fake
    assert model.asked == [["tree", "cat", "dog"], ["tree"]]
    only_tags = OpenDetection(source="s", use_tags=True, template="{}")
    (row,) = only_tags.annotate(model, [record(values=untagged)])  # type: ignore[arg-type]  # a fake
    assert row[DETECTIONS.of("s")] == () and len(rows) == 2


def test_a_prompt_holds_something() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        OpenDetection(source="s", queries=("cat",), labels_per_prompt=0)


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to look for"):
        OpenDetection(source="s")


def test_groups_of_the_queries_are_kept_beside_the_detections() -> None:
    stage = OpenDetection(source="s", queries=("cat", "dog"))
    (row,) = stage.annotate(FixedBoxes(groups=(1, 1)), [record()])  # type: ignore[arg-type]  # a fake
    assert set(row) == set(stage.writes)
    assert row[QUERY_GROUPS.of("s")] == (1, 1)


@pytest.mark.parametrize("build", [grounding_dino, mm_grounding_dino])
def test_grounding_dino_takes_a_longer_list_than_it_reads_at_once(build: Builder) -> None:
    colors, things = (
        ("red", "green", "blue", "a red"),
        ("cat", "dog", "car", "tree", "sky", "apple"),
    )
    labels = tuple(f"{color} {thing}" for color in colors for thing in things)
    stage = OpenDetection(
        source="s", queries=labels, model=checkpoint(build), template="{}", threshold=0.3, nms=1.0
    )
    model = stage.load("cpu")
    sizes = ((40, 60), (60, 40), (40, 60), *ODD_SIZES)
    records = [record(size, seed=i) for i, size in enumerate(sizes)]
    rows = stage.annotate(model, records)
    for row, one in zip(rows, records, strict=True):
        (alone,) = stage.annotate(model, [one])
        found, again = row[DETECTIONS.of("s")], alone[DETECTIONS.of("s")]
        assert row[QUERY_GROUPS.of("s")] == alone[QUERY_GROUPS.of("s")] == (20, 4)
        assert all(inside(d.box, one.size) and d.label in labels for d in found)
        # In an image of one colour all places are alike, and which of them is taken is chance.
        if min(one.size) > 1:
            assert [d.label for d in found] == [d.label for d in again]
            assert [d.score for d in found] == pytest.approx([d.score for d in again], abs=1e-4)
    assert rows[0][DETECTIONS.of("s")]
    strict = OpenDetection(source="s", queries=labels, model=checkpoint(build), threshold=1.1)
    (row,) = strict.annotate(strict.load("cpu"), records[:1])
    assert row[DETECTIONS.of("s")] == () and row[QUERY_GROUPS.of("s")]


def test_a_fragment_tells_which_words_shared_a_prompt(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=2, shard_size=2)
    stage = OpenDetection(
        source="s",
        queries=("cat", "Cat", "dog", "sky"),
        model=checkpoint(grounding_dino),
        labels_per_prompt=2,
    )
    (step,) = make_plan([stage]).steps
    with lock.hold(run.root) as token:
        annotate_shard(run, step, stage.load("cpu"), "00000", token)
    sizes = run.read(step.key, "00000", ["query_groups.s"])["query_groups.s"]
    queries = iter(distinct(json.loads(step.identity)["options"]["queries"]))
    assert sizes == [[2, 1]] * 2
    assert [list(islice(queries, size)) for size in sizes[0]] == [["cat", "dog"], ["sky"]]
