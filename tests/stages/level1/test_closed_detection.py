from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from grand_pipeline.columns import DETECTIONS
from grand_pipeline.errors import SettingsError
from grand_pipeline.settings import load_preset, override, stages
from grand_pipeline.types import Detection, Size
from stages.detector import Scored
from stages.level1.closed_detection import ClosedDetection
from tests.tiny.checkpoints import checkpoint
from tests.tiny.detectors import detr
from tests.tiny.records import record

COLUMN = DETECTIONS.of("s")
BOXES = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30], [60, 5, 60, 9]], np.float32)
SCORES = np.array(
    [[0.9, 0.1, 0.95, 0.5], [0.2, 0.8, 0.9, 0.0], [0.1, 0.4, 0.9, 0.7], [0.99] * 4], np.float32
)


class FixedBoxes:
    """A detector that sees the same in every image."""

    labels = ("cat", "dog", "N/A", "sky")

    def score(self, images: Sequence[Any], sizes: Sequence[Size]) -> list[Scored]:
        return [Scored(BOXES, SCORES.copy()) for _ in images]


def found(**options: Any) -> list[tuple[str, float]]:
    stage = ClosedDetection(source="s", **options)
    model: Any = FixedBoxes()
    (row,) = stage.annotate(model, [record()])
    detections: tuple[Detection, ...] = row[COLUMN]
    return [(one.label, round(one.score, 2)) for one in detections]


def test_every_class_over_the_threshold_is_a_detection_but_unused_ids_and_empty_boxes() -> None:
    assert found() == [("cat", 0.9), ("dog", 0.8), ("sky", 0.7), ("sky", 0.5), ("dog", 0.4)]
    assert found(threshold=0.75) == [("cat", 0.9), ("dog", 0.8)]
    assert found(threshold=1.0) == []
    assert found(max_boxes=1) == [("cat", 0.9)]


def test_kept_and_renamed_labels() -> None:
    assert found(keep=("dog", "sky"), threshold=0.6) == [("dog", 0.8), ("sky", 0.7)]
    assert found(keep=("N/A",), threshold=0.92) == [("N/A", 0.95)]
    pets = (("cat", "pet"), ("dog", "pet"))
    assert found(rename=pets, threshold=0.6) == [("pet", 0.9), ("pet", 0.8), ("sky", 0.7)]
    assert found(rename=pets, keep=("dog",), threshold=0.6) == [("pet", 0.8)]


def test_suppression_across_labels_or_within_one() -> None:
    assert found(nms=0.5) == [("cat", 0.9), ("sky", 0.7)]
    assert found(nms=0.5, nms_per_label=True, threshold=0.6) == [
        ("cat", 0.9),
        ("dog", 0.8),
        ("sky", 0.7),
    ]
    merged = found(
        nms=0.5, nms_per_label=True, threshold=0.6, rename=(("cat", "pet"), ("dog", "pet"))
    )
    assert merged == [("pet", 0.9), ("sky", 0.7)]


def test_a_label_with_two_names_is_refused() -> None:
    with pytest.raises(ValueError, match="one label two names"):
        ClosedDetection(source="s", rename=(("cat", "pet"), ("cat", "animal")))


def test_pairs_come_from_a_preset() -> None:
    preset = load_preset("picturebook")
    preset.tables["closed_detection.s"] = {}
    changed = override(preset, ['closed_detection.s.rename=[["cat", "pet"]]'])
    (stage,) = (one for one in stages(changed) if one.key == "closed_detection.s")
    assert isinstance(stage, ClosedDetection) and stage.rename == (("cat", "pet"),)


@pytest.mark.parametrize("options", [{"keep": ("cow",)}, {"rename": (("cow", "beef"),)}])
def test_a_label_that_the_checkpoint_lacks_is_named(options: Any) -> None:
    stage = ClosedDetection(source="s", model=checkpoint(detr), **options)
    with pytest.raises(SettingsError, match=r"no label 'cow'\..*Available: N/A, cat, dog, sky"):
        stage.load("cpu")
