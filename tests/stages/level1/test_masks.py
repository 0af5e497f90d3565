from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grand_pipeline import geometry
from grand_pipeline.columns import DETECTIONS, INSTANCES, MASKS, SEGMENTS
from grand_pipeline.record import Record
from grand_pipeline.types import (
    BoolArray,
    Detection,
    FloatArray,
    Instance,
    ObjectMask,
    Segment,
    Size,
)
from stages.level1.masks import Masks, match, window
from tests.tiny.checkpoints import checkpoint
from tests.tiny.masks import SEGMENTERS, sam, segmenter
from tests.tiny.records import ODD_SIZES, filled, instance, record

SIZE = (40, 60)


class FilledImage:
    """A segmenter whose every prompted mask is the whole image, or nothing."""

    def __init__(self, *, full: bool = True) -> None:
        self.value = full
        self.embedded = 0

    def embed(self, images: Sequence[Any], sizes: Sequence[Size]) -> list[Size]:
        self.embedded += len(images)
        return list(sizes)

    def by_boxes(self, image: Size, boxes: FloatArray, per_call: int) -> tuple[Tensor, FloatArray]:
        return torch.zeros(len(boxes), 1, 1), np.full(len(boxes), 0.7, np.float32)

    def full(self, image: Size, logits: Tensor) -> list[BoolArray]:
        return [np.full(image, self.value) for _ in logits]


def scene(
    instances: Sequence[Instance],
    segments: Sequence[tuple[int, int, int, int]] = (),
    detections: Sequence[tuple[int, int, int, int]] = (),
) -> Record:
    def box(corners: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
        return (*(float(x) for x in corners),)  # type: ignore[return-value]  # four of them

    return record(
        SIZE,
        {
            INSTANCES: tuple(instances),
            SEGMENTS: tuple(Segment(box(b), filled(b, SIZE), 0.8, 0.9) for b in segments),
            DETECTIONS.of("d"): (
                Detection((0.0, 0.0, 5.0, 5.0), 0.4, "no mask"),
                *(Detection(box(b), 0.6, "cat", filled(b, SIZE)) for b in detections),
            ),
        },
    )


def masks(stage: Masks, model: Any, one: Record) -> tuple[ObjectMask, ...]:
    (row,) = stage.annotate(model, [one])
    found: tuple[ObjectMask, ...] = row[MASKS]
    return found


OBJECTS = (
    instance(4, (10.0, 10.0, 30.0, 30.0)),
    instance(7, (40.0, 10.0, 50.0, 30.0)),
    instance(2, (0.0, 30.0, 20.0, 40.0), kind="stuff"),
)


def test_automatic_then_detector_then_prompt() -> None:
    one = scene(
        OBJECTS, segments=[(10, 10, 30, 28)], detections=[(10, 10, 30, 30), (40, 10, 50, 28)]
    )
    found = masks(Masks(), FilledImage(), one)
    assert [(m.object_id, m.source) for m in found] == [(4, "auto"), (7, "detector"), (2, "box")]
    assert [m.score for m in found] == pytest.approx([0.8, 0.6, 0.7])


def test_a_mask_serves_one_object() -> None:
    twins = (instance(0, (10.0, 10.0, 30.0, 30.0)), instance(1, (10.0, 10.0, 30.0, 29.0)))
    found = masks(Masks(), FilledImage(), scene(twins, segments=[(10, 10, 30, 29)]))
    assert [(m.object_id, m.source) for m in found] == [(0, "box"), (1, "auto")]


def test_masks_of_other_boxes_do_not_match() -> None:
    found = masks(Masks(), FilledImage(), scene(OBJECTS[:1], segments=[(10, 10, 30, 20)]))
    assert [m.source for m in found] == ["box"]


def test_prompts_preferred_and_ready_masks_as_a_reserve() -> None:
    one = scene(OBJECTS, segments=[(10, 10, 30, 30)])
    stage = Masks(prefer="prompt")
    assert [m.source for m in masks(stage, FilledImage(), one)] == ["box"] * 3
    empty = masks(stage, FilledImage(full=False), one)
    assert [(m.source, m.score) for m in empty[1:]] == [("box", 0.0)] * 2
    assert empty[0].source == "auto"
    assert geometry.rle_area(empty[1].mask) == 200


def test_prompted_mask_is_cut_near_its_box() -> None:
    (found,) = masks(Masks(box_margin=0.1), FilledImage(), scene(OBJECTS[:1]))
    assert geometry.rle_box(found.mask) == (8, 8, 32, 32)


def test_the_tight_box_of_an_agreeing_mask_becomes_the_object_s() -> None:
    ready = {"segments": [(11, 10, 30, 27)], "detections": [(41, 12, 50, 30)]}
    auto, detector, prompted = masks(Masks(), FilledImage(), scene(OBJECTS, **ready))
    assert (auto.source, auto.box) == ("auto", (11, 10, 30, 27))
    assert (detector.source, detector.box) == ("detector", (41, 12, 50, 30))
    assert (prompted.source, prompted.box) == ("box", (0, 29, 22, 40))


def test_a_mask_of_another_place_leaves_the_object_its_box() -> None:
    one = scene(OBJECTS[:1], segments=[(10, 10, 30, 24)])  # IoU 0.7
    assert [m.box for m in masks(Masks(box_iou=0.69), FilledImage(), one)] == [(10, 10, 30, 24)]
    assert [m.box for m in masks(Masks(box_iou=0.71), FilledImage(), one)] == [None]


def test_neither_a_filled_box_nor_the_detector_s_choice_gives_a_box() -> None:
    crooked = (instance(0, (10.2, 10.7, 30.9, 30.1)),)
    (filled_box,) = masks(Masks(), FilledImage(full=False), scene(crooked))
    assert (filled_box.score, filled_box.box) == (0.0, None)
    (own,) = masks(Masks(boxes="detector"), FilledImage(), scene(crooked))
    assert own.box is None


def test_image_without_objects_or_prompts_is_not_encoded() -> None:
    model = FilledImage()
    assert masks(Masks(), model, scene(())) == ()
    assert len(masks(Masks(), model, scene(OBJECTS[:1], segments=[(10, 10, 30, 30)]))) == 1
    assert model.embedded == 0


def test_without_a_model_there_are_the_masks_that_others_made() -> None:
    one = scene(OBJECTS, segments=[(10, 10, 30, 30)], detections=[(40, 10, 50, 30)])
    bare = Masks(model="")
    assert bare.load("cpu") is None and not bare.needs_image and bare.models == ()
    found = masks(bare, None, one)
    assert [(m.object_id, m.source, m.score) for m in found] == [
        (4, "auto", pytest.approx(0.8)),
        (7, "detector", pytest.approx(0.6)),
        (2, "box", 0.0),
    ]
    assert found[2].box is None and geometry.rle_area(found[2].mask) == 200, "the filled box"
    left = masks(Masks(model="", fill=False), None, one)
    assert [m.object_id for m in left] == [4, 7]


def test_without_a_model_nothing_can_be_prompted() -> None:
    with pytest.raises(ValueError, match="needs a model"):
        Masks(model="", prefer="prompt")
    with pytest.raises(ValueError, match="match_segments or match_detections"):
        Masks(model="", match_segments=False, match_detections=False)


def test_reads_follow_the_options() -> None:
    assert Masks().reads == (INSTANCES, SEGMENTS, DETECTIONS)
    assert Masks(match_segments=False, match_detections=False).reads == (INSTANCES,)


def test_assignment_is_the_best_in_all() -> None:
    boxes = geometry.as_boxes([(0, 0, 10, 10), (0, 0, 10, 9)])
    candidates = geometry.as_boxes([(0, 0, 10, 9), (0, 0, 10, 12), (50, 50, 60, 60)])
    assert match(boxes, candidates, 0.65) == {0: 1, 1: 0}
    assert match(boxes[:0], candidates, 0.65) == {} == match(boxes, candidates[:0], 0.65)


@pytest.mark.parametrize(
    ("box", "pixels"),
    [((10.2, 3.0, 12.0, 5.0), 4), ((60.0, 40.0, 60.0, 40.0), 1), ((0.0, 0.0, 60.0, 40.0), 2400)],
)
def test_window_is_never_empty(box: tuple[float, float, float, float], pixels: int) -> None:
    assert window(box, SIZE, 0.0).sum() == pixels


@pytest.mark.parametrize("size", [SIZE, *ODD_SIZES])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_model_masks_every_object_of_images_of_any_size(name: str, size: Size) -> None:
    stage = Masks(match_segments=False, match_detections=False, prompts_per_call=2)
    height, width = size
    objects = [
        instance(n, (0.0, 0.0, max(1.0, width * f), max(1.0, height * f)))
        for n, f in enumerate((1.0, 0.5, 0.01))
    ]
    found = masks(stage, segmenter(name), record(size, {INSTANCES: tuple(objects)}))
    assert [mask.object_id for mask in found] == [0, 1, 2]
    for mask in found:
        assert mask.mask.size == size and geometry.rle_area(mask.mask) > 0
        assert mask.source == "box" and 0 <= mask.score <= 1


def test_batch_of_empty_and_full_images() -> None:
    stage = Masks(model=checkpoint(sam), match_segments=False, match_detections=False)
    records = [record(SIZE, {INSTANCES: found}) for found in ((), OBJECTS, ())]
    rows = stage.annotate(stage.load("cpu"), records)
    assert [len(row[MASKS]) for row in rows] == [0, 3, 0]
