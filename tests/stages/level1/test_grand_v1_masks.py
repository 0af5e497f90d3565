from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grand_pipeline.columns import DETECTIONS, INSTANCES, MASKS, SEGMENTS
from grand_pipeline.geometry import rle_decode
from grand_pipeline.record import Record
from grand_pipeline.types import BoolArray, Box, Detection, FloatArray, ObjectMask, Segment, Size
from stages.level1.grand_v1_masks import GrandV1Masks
from tests.tiny.records import filled, instance, record

SIZE = (40, 60)
OBJECTS = (
    instance(4, (10.0, 10.0, 30.0, 30.0)),
    instance(7, (40.0, 10.0, 50.0, 30.0)),
    instance(2, (0.0, 30.0, 20.0, 40.0)),
)


class Remembers:
    """A segmenter that keeps the boxes it was asked and answers with the whole image."""

    def __init__(self) -> None:
        self.boxes: list[list[float]] = []

    def embed(self, images: Sequence[Any], sizes: Sequence[Size]) -> list[Size]:
        return list(sizes)

    def by_boxes(self, image: Size, boxes: FloatArray, per_call: int) -> tuple[Tensor, FloatArray]:
        self.boxes += boxes.tolist()
        return torch.zeros(len(boxes), 1, 1), np.full(len(boxes), 0.7, np.float32)

    def full(self, image: Size, logits: Tensor) -> list[BoolArray]:
        return [np.full(image, True) for _ in logits]


def scene(
    segments: Sequence[tuple[int, int, int, int]] = (), source: str = "eva-02-01", **given: Any
) -> Record:
    def box(corners: tuple[int, int, int, int]) -> Box:
        x1, y1, x2, y2 = corners
        return float(x1), float(y1), float(x2), float(y2)

    detected = given.get("detected", ())
    return record(
        SIZE,
        {
            INSTANCES: given.get("objects", OBJECTS),
            SEGMENTS: tuple(Segment(box(b), filled(b, SIZE), 0.8, 0.9) for b in segments),
            DETECTIONS.of(source): (
                Detection((40.0, 10.0, 50.0, 30.0), 0.4, "no mask"),
                *(Detection(box(b), 0.6, "cat", filled(b, SIZE)) for b in detected),
            ),
        },
    )


def masks(one: Record, model: Any = None, **options: Any) -> tuple[ObjectMask, ...]:
    (row,) = GrandV1Masks(**options).annotate(model or Remembers(), [one])
    found: tuple[ObjectMask, ...] = row[MASKS]
    return found


def test_automatic_masks_then_a_detectors_then_a_prompt() -> None:
    found = masks(scene([(10, 10, 30, 28)], detected=[(10, 10, 30, 30), (40, 10, 50, 28)]))
    assert [(m.object_id, m.source) for m in found] == [(4, "auto"), (7, "detector"), (2, "box")]
    assert [m.score for m in found] == pytest.approx([0.8, 0.6, 0.7])


def test_the_box_of_a_found_mask_replaces_the_objects_own() -> None:
    found = masks(scene([(10, 10, 30, 28)], detected=[(40, 10, 50, 28)]))
    assert [m.box for m in found] == [(10, 10, 30, 28), (40, 10, 50, 28), None]


def test_masks_of_other_detectors_are_not_used() -> None:
    found = masks(scene(source="mask_rcnn", detected=[(40, 10, 50, 28)]))
    assert [m.source for m in found] == ["box"] * 3


def test_nothing_is_asked_where_every_object_has_a_mask() -> None:
    model = Remembers()
    found = masks(scene([(10, 10, 30, 28)], objects=OBJECTS[:1]), model)
    assert len(found) == 1 and model.boxes == []
    assert masks(scene(objects=()), model) == ()


def test_d2_prompts_reach_too_far() -> None:
    meant, published = Remembers(), Remembers()
    masks(scene(objects=OBJECTS[:1]), meant)
    masks(scene(objects=OBJECTS[:1]), published, defects=("D2",))
    assert (meant.boxes, published.boxes) == ([[10, 10, 30, 30]], [[10, 10, 40, 40]])


def test_d9_one_mask_is_given_to_two_objects() -> None:
    twins = (instance(0, (10.0, 10.0, 30.0, 30.0)), instance(1, (10.0, 10.0, 30.0, 29.0)))
    one = scene([(10, 10, 30, 30)], objects=twins)
    assert [m.source for m in masks(one)] == ["auto", "box"]
    assert [m.source for m in masks(one, defects=("D9",))] == ["auto", "auto"]


def test_prompted_masks_are_not_cut() -> None:
    (only,) = masks(scene(objects=OBJECTS[:1]))
    assert rle_decode(only.mask).all()
