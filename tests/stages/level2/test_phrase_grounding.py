from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from grand_pipeline.columns import CAPTIONS, PHRASE_BOXES, PHRASES
from grand_pipeline.types import Phrase, PhraseBox, Size
from stages.detector import Scored
from stages.grounders import ByPhrase, Grounded, Span
from stages.level2.phrase_grounding import PhraseGrounding
from tests.attacks import ATTACKS, SPECIAL
from tests.tiny.checkpoints import Builder, checkpoint
from tests.tiny.detectors import grounding_dino, mm_grounding_dino
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


@pytest.mark.parametrize("attack", ATTACKS)
def test_grounders_read_no_mark_out_of_captions(attack: str) -> None:
    text = f"a cat; {ATTACKS[attack]}; a red dog"
    model, seen = Noting(), (Phrase("c", "a red dog", "dog", 9, 18), phrase("a cat", "cat"))
    for how in ("caption", "phrase"):
        stage = PhraseGrounding(source="s", prompt=how)
        stage.annotate(model, [record(values={CAPTIONS.of("c"): text, PHRASES: seen})])
    assert [[caption[a:b] for a, b in places] for caption, places in model.asked] == [
        ["a red dog", "a cat"]
    ] * 2
    assert not any(token in caption for caption, _ in model.asked for token in SPECIAL)


class Noting:
    """A grounder that finds nothing and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Span]]] = []

    def ground(
        self,
        images: Sequence[Any],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        self.asked += [(c, list(s)) for c, s in zip(captions, phrases, strict=True)]
        return [[Grounded(BOXES, SCORES)] * len(asked) for asked in phrases]


def boxes(stage: PhraseGrounding, *phrases: Phrase) -> tuple[PhraseBox, ...]:
    model: Any = FixedBoxes()
    (row,) = stage.annotate(ByPhrase(model), [record(values={PHRASES: phrases})])
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
    rows = stage.annotate(ByPhrase(model), records)
    assert model.asked == [["picture of a cat", "picture of a dog"], ["picture of a dog"]]
    assert [[b.text for b in row[COLUMN]] for row in rows] == [["a cat", "a dog"], [], ["a dog"]]
    assert stage.annotate(ByPhrase(model), records[1:2])[0][COLUMN] == ()


class Recorded:
    """A grounder that gives every phrase one box, and its score if it has one."""

    def __init__(self, *scores: float | None) -> None:
        self.scores = list(scores)
        self.asked: list[tuple[str, list[str]]] = []

    def ground(
        self,
        images: Sequence[Any],
        sizes: Sequence[Size],
        captions: Sequence[str],
        phrases: Sequence[Sequence[Span]],
    ) -> list[list[Grounded]]:
        for caption, spans in zip(captions, phrases, strict=True):
            self.asked.append((caption, [caption[start:end] for start, end in spans]))
        return [[self._next() for _ in spans] for spans in phrases]

    def _next(self) -> Grounded:
        score = self.scores.pop(0)
        box = np.array([[len(self.scores), 0, 30, 30]], np.float32)
        return Grounded(box, None if score is None else np.array([score], np.float32))


def in_captions(**texts: str) -> dict[Any, Any]:
    """Captions by source, and as their phrases "a cat" and "the dog" wherever they stand."""
    phrases = tuple(
        Phrase(source, words, words.split()[-1], text.index(words), text.index(words) + len(words))
        for source, text in texts.items()
        for words in ("a cat", "the dog")
        if words in text
    )
    captions = {CAPTIONS.of(source): text for source, text in texts.items()}
    return {**captions, PHRASES: phrases}


def test_phrases_are_asked_inside_their_captions() -> None:
    model = Recorded(0.5, 0.9, 0.7)
    stage = PhraseGrounding(source="s", prompt="caption")
    values = in_captions(one="On grass a cat sees the dog", two="Here is a cat", three="Nothing")
    rows = stage.annotate(model, [record(values=values), record(values=in_captions(one="sky"))])
    assert model.asked == [
        ("On grass a cat sees the dog", ["a cat", "the dog"]),
        ("Here is a cat", ["a cat"]),
    ]
    found = rows[0][COLUMN]
    assert [(b.text, round(b.score, 2)) for b in found] == [("a cat", 0.7), ("the dog", 0.9)]
    assert rows[1][COLUMN] == ()


def test_a_phrase_that_is_not_where_it_says_is_looked_for_and_left_out_if_it_is_nowhere() -> None:
    model = Recorded(0.5)
    caption = "cafe\u0301 and a cat"
    phrases = (Phrase("c", "a cat", "cat", 0, 5), Phrase("c", "a tree", "tree", 0, 6))
    values: dict[Any, Any] = {CAPTIONS.of("c"): caption, PHRASES: phrases}
    stage = PhraseGrounding(source="s", prompt="caption")
    (row,) = stage.annotate(model, [record(values=values)])
    assert model.asked == [("caf\u00e9 and a cat", ["a cat"])]
    assert [b.text for b in row[COLUMN]] == ["a cat"]


def test_a_grounder_without_scores_is_believed() -> None:
    stage = PhraseGrounding(source="s", prompt="caption", threshold=0.9)
    (row,) = stage.annotate(Recorded(None), [record(values=in_captions(one="a cat"))])
    assert [(b.text, b.score) for b in row[COLUMN]] == [("a cat", None)]
    both = in_captions(one="a cat", two="a cat")
    (row,) = stage.annotate(Recorded(None, 0.1), [record(values=both)])
    assert [b.score for b in row[COLUMN]] == [None], "one box is enough for one cat"


def test_captions_are_read_only_where_they_are_needed() -> None:
    assert PhraseGrounding(source="s").reads == (PHRASES,)
    assert PhraseGrounding(source="s", prompt="caption").reads == (CAPTIONS, PHRASES)
    with pytest.raises(ValueError, match="read as it is"):
        PhraseGrounding(source="s", prompt="caption", template="a photo of {}")


@pytest.mark.parametrize("build", [grounding_dino, mm_grounding_dino])
@pytest.mark.parametrize("prompt", ["phrase", "caption"])
def test_grounding_dino_takes_any_image_and_caption(build: Builder, prompt: Any) -> None:
    stage = PhraseGrounding(source="s", model=checkpoint(build), threshold=0.0, prompt=prompt)
    model = stage.load("cpu")
    long = "On grass " + "red green blue trees of the sky " * 20 + "a cat sees the dog"
    texts = ["a cat sees the dog", long, "the dog", "sky"]
    sizes = ((40, 60), (60, 40), *ODD_SIZES)
    records = [
        record(size, in_captions(c=texts[n % 4], d="a cat"), seed=n) for n, size in enumerate(sizes)
    ]
    rows = stage.annotate(model, records)
    assert {b.text for b in rows[1][COLUMN]} == {"a cat", "the dog"}
    for row, one in zip(rows, records, strict=True):
        (alone,) = stage.annotate(model, [one])
        assert row[COLUMN] and all(inside(b.box, one.size) for b in row[COLUMN])
        # In an image of one colour all places are alike, and which of them is taken is chance.
        if min(one.size) > 1:
            assert [(b.text, b.score) for b in row[COLUMN]] == [
                (b.text, pytest.approx(b.score, abs=1e-4)) for b in alone[COLUMN]
            ]
