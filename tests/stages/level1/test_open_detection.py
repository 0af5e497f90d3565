from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from grand_pipeline.columns import DETECTIONS, TAGS
from grand_pipeline.types import Detection, FloatArray, Size, Tag
from stages.detector import Scored
from stages.level1.open_detection import OpenDetection
from tests.tiny.checkpoints import Builder, checkpoint, owl_vit, owlv2
from tests.tiny.records import ODD_SIZES, inside, record

BOXES = np.array(
    [[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30], [20, 20, 30, 30], [60, 5, 60, 9]], np.float32
)
SCORES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7], [0.6, 0.2], [0.99, 0.1]], np.float32)


class FixedBoxes:
    """A detector that gives the same boxes and scores to every image."""

    def __init__(self, scores: FloatArray = SCORES) -> None:
        self.scores = scores
        self.asked: list[list[str]] = []

    def score(
        self, images: Sequence[Any], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        self.asked += [list(asked) for asked in queries]
        return [Scored(BOXES, self.scores[:, : len(asked)]) for asked in queries]


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


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to look for"):
        OpenDetection(source="s")


@pytest.mark.parametrize("build", [owl_vit, owlv2])
def test_real_models_give_boxes_inside_images_of_any_size(build: Builder) -> None:
    stage = OpenDetection(
        source="s", queries=("cat", "dog"), model=checkpoint(build), threshold=0.0, nms=0.5
    )
    model = stage.load("cpu")
    sizes = ((40, 60), *(size for size in ODD_SIZES if max(size) < 1000 or build is owl_vit))
    records = [record(size, seed=i) for i, size in enumerate(sizes)]
    rows = stage.annotate(model, records)
    assert rows[0][DETECTIONS.of("s")]
    for row, one in zip(rows, records, strict=True):
        (alone,) = stage.annotate(model, [one])
        found = row[DETECTIONS.of("s")]
        assert all(inside(d.box, one.size) for d in found)
        assert [d.label for d in found] == [d.label for d in alone[DETECTIONS.of("s")]]
