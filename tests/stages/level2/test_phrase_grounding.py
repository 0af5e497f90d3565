from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from grand_pipeline.columns import PHRASE_BOXES, PHRASES
from grand_pipeline.types import Phrase, PhraseBox, Size
from stages.detector import Scored
from stages.level2.phrase_grounding import PhraseGrounding
from tests.tiny.checkpoints import Builder, checkpoint, owl_vit, owlv2
from tests.tiny.records import ODD_SIZES, inside, record

COLUMN = PHRASE_BOXES.of("s")
BOXES = np.array(
    [[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30], [40, 20, 50, 30], [60, 1, 60, 9]], np.float32
)
SCORES = np.array([0.8, 0.7, 0.5, 0.41, 0.9], np.float32)


def phrase(text: str, head: str) -> Phrase:
    return Phrase("c", text, head, 0, len(text))


class FixedBoxes:
    """A detector that gives the same boxes and scores to every phrase."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def score(
        self, images: Sequence[Any], sizes: Sequence[Size], queries: Sequence[Sequence[str]]
    ) -> list[Scored]:
        self.asked += [list(asked) for asked in queries]
        return [Scored(BOXES, np.tile(SCORES[:, None], (1, len(asked)))) for asked in queries]


def boxes(stage: PhraseGrounding, *phrases: Phrase) -> tuple[PhraseBox, ...]:
    model: Any = FixedBoxes()
    (row,) = stage.annotate(model, [record(values={PHRASES: phrases})])
    found: tuple[PhraseBox, ...] = row[COLUMN]
    return found


@pytest.mark.parametrize(
    ("text", "head", "scores"),
    [
        ("a ball", "ball", [0.8]),
        ("the grass", "grass", [0.8]),
        ("two balls", "balls", [0.8, 0.5]),
        ("the balls", "balls", [0.8, 0.5, 0.41]),
        ("several people", "people", [0.8, 0.5, 0.41]),
    ],
)
def test_number_of_boxes_follows_the_phrase(text: str, head: str, scores: list[float]) -> None:
    found = boxes(PhraseGrounding(source="s"), phrase(text, head))
    assert [b.score for b in found] == pytest.approx(scores)
    assert {b.text for b in found} == {text}


def test_threshold_ratio_and_limit() -> None:
    balls = phrase("balls", "balls")
    assert boxes(PhraseGrounding(source="s", threshold=0.81), balls) == ()
    assert len(boxes(PhraseGrounding(source="s", ratio=0.6), balls)) == 2
    assert len(boxes(PhraseGrounding(source="s", max_boxes=1), balls)) == 1


def test_voting_averages_the_boxes_of_a_phrase() -> None:
    (ball,) = boxes(PhraseGrounding(source="s", box_voting=0.5), phrase("a ball", "ball"))
    assert 0 < ball.box[0] < 1 and ball.score == pytest.approx(0.8)


def test_a_text_is_asked_once_per_image_and_none_is_not_asked() -> None:
    model: Any = FixedBoxes()
    stage = PhraseGrounding(source="s", template="picture of {}")
    cat, dog = phrase("a cat", "cat"), phrase("a dog", "dog")
    records = [record(values={PHRASES: p}) for p in ((cat, dog, cat), (), (dog,))]
    rows = stage.annotate(model, records)
    assert model.asked == [["picture of a cat", "picture of a dog"], ["picture of a dog"]]
    assert [[b.text for b in row[COLUMN]] for row in rows] == [["a cat", "a dog"], [], ["a dog"]]
    assert stage.annotate(model, records[1:2])[0][COLUMN] == ()


@pytest.mark.parametrize("build", [owl_vit, owlv2])
def test_real_models_give_boxes_inside_images_of_any_size(build: Builder) -> None:
    stage = PhraseGrounding(source="s", model=checkpoint(build), threshold=0.0)
    model = stage.load("cpu")
    phrases = (phrase("a cat", "cat"), phrase("two red cars", "cars"), phrase("sky", "sky"))
    sizes = ((40, 60), *(size for size in ODD_SIZES if max(size) < 1000 or build is owl_vit))
    records = [
        record(size, {PHRASES: phrases[: 1 + i % 3]}, seed=i) for i, size in enumerate(sizes)
    ]
    for row, one in zip(stage.annotate(model, records), records, strict=True):
        (alone,) = stage.annotate(model, [one])
        found = row[COLUMN]
        # OWLv2 pads, so all boxes of a strip can lie outside it.
        if build is owl_vit:
            assert list(dict.fromkeys(b.text for b in found)) == [p.text for p in one[PHRASES]]
        assert all(inside(b.box, one.size) for b in found)
        assert [b.score for b in found] == pytest.approx([b.score for b in alone[COLUMN]], abs=1e-5)
