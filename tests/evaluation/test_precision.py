"""Average precision is the one of COCO."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from grand_pipeline.evaluation.precision import Sample, Scored, Target, average_precision
from grand_pipeline.types import Box


def _box(rng: np.random.Generator) -> Box:
    x, y = rng.uniform(0, 150, 2)
    width, height = rng.uniform(20, 90, 2)
    return float(x), float(y), float(x + width), float(y + height)


def _near(box: Box, rng: np.random.Generator) -> Box:
    a, b, c, d = (value + float(rng.normal(0, 6)) for value in box)
    return a, b, max(c, a + 2), max(d, b + 2)


def _samples(seed: int) -> list[Sample]:
    """Images with hits of all qualities, doubles, wrong classes and empty sides."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(12):
        targets = [Target(int(rng.integers(4)), _box(rng)) for _ in range(rng.integers(0, 7))]
        found = [
            Scored(int(rng.integers(5)) if rng.random() < 0.2 else target.key, place, score)
            for target in targets
            for place in [_near(target.box, rng) for _ in range(rng.integers(0, 3))]
            for score in [round(float(rng.random()), 1)]
        ]
        found += [Scored(int(rng.integers(5)), _box(rng), float(rng.random())) for _ in range(2)]
        samples.append(Sample(tuple(found), tuple(targets)))
    return samples


def _coco(samples: list[Sample]) -> tuple[float, float]:
    """AP50 and AP by pycocotools."""

    def flat(box: Box) -> list[float]:
        values = np.asarray(box, np.float32).astype(float)
        return [values[0], values[1], values[2] - values[0], values[3] - values[1]]

    truth: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    for image, sample in enumerate(samples, start=1):
        for target in sample.truth:
            box = flat(target.box)
            common = {"image_id": image, "category_id": target.key + 1, "bbox": box}
            truth.append(common | {"id": len(truth) + 1, "iscrowd": 0, "area": box[2] * box[3]})
        for scored in sample.predicted:
            common = {"image_id": image, "category_id": scored.key + 1, "bbox": flat(scored.box)}
            ours.append(common | {"score": scored.score})
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": i + 1} for i in range(len(samples))],
        "categories": [{"id": i + 1} for i in range(5)],
        "annotations": truth,
    }
    coco.createIndex()
    judge = COCOeval(coco, coco.loadRes(ours), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[1]), float(judge.stats[0])


@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools(seed: int) -> None:
    samples = _samples(seed)
    curve = average_precision(samples)
    assert curve is not None
    assert (curve[0], curve.mean()) == pytest.approx(_coco(samples), abs=1e-9)


def test_without_truth_there_is_no_precision() -> None:
    assert average_precision([Sample((Scored("a", (0, 0, 1, 1), 1.0),), ())]) is None


def test_classes_without_truth_do_not_count() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    sample = Sample((Scored("a", box, 0.5), Scored("b", box, 0.9)), (Target("a", box),))
    assert average_precision([sample]) == pytest.approx(np.ones(10))


def test_a_double_after_the_hit_costs_nothing_before_it_does() -> None:
    box, shifted = (0.0, 0.0, 10.0, 10.0), (40.0, 0.0, 50.0, 10.0)
    late = Sample((Scored("a", box, 0.9), Scored("a", shifted, 0.1)), (Target("a", box),))
    early = Sample((Scored("a", box, 0.1), Scored("a", shifted, 0.9)), (Target("a", box),))
    assert average_precision([late], np.array([0.5])) == pytest.approx(1.0)
    assert average_precision([early], np.array([0.5])) == pytest.approx(0.5)
