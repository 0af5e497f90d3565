"""Dense captions: invention, claims, masks of grounded phrases."""

from __future__ import annotations

import pytest

from grand_pipeline.columns import Annotation
from grand_pipeline.evaluation.claims import claims
from grand_pipeline.evaluation.dense import dense_scores, mask_recall
from grand_pipeline.evaluation.lexicon import picturebook_lexicon
from grand_pipeline.evaluation.pairing import pair
from grand_pipeline.evaluation.similarity import TextSimilarity
from tests.evaluation.rows import dense, related, row, thing

LEXICON = picturebook_lexicon()
LEFT, RIGHT, BELOW = (0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 50.0, 20.0), (0.0, 40.0, 64.0, 64.0)
OBJECTS = (
    thing(0, "dog", LEFT, color="red", depth=0.9),
    thing(1, "dog", RIGHT, color="blue", depth=0.4),
    thing(2, "car", (0, 24, 20, 38), color="red", depth=0.5),
    thing(3, "grass", BELOW, kind="stuff"),
)
TRUE = row(*OBJECTS, relations=related((0, "left of", 1), (2, "on", 3)))


def _verdicts(text: str, kind: str) -> list[bool]:
    return [c.true for c in claims(text, TRUE, LEXICON) if c.kind == kind]


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("a dog and a cat", "class", [True, False]),
        ("an animal", "class", [True]),
        ("a red dog, a green dog", "color", [True, False]),
        ("the car is blue", "color", [False]),
        ("two dogs", "count", [True]),
        ("three dogs", "count", [False]),
        ("two red dogs", "count", [False]),
        ("cars", "count", [False]),
        ("a dog", "count", []),
        ("a red dog left of a blue dog", "relation", [True]),
        ("a blue dog is to the left of a red dog", "relation", [False]),
        ("a blue dog stands behind the red dog", "relation", [True]),
        ("a red car stands on the grass", "relation", [True]),
        ("a red dog stands on the grass", "relation", [False]),
        ("a red car on the grass below the red dog", "relation", [True, True]),
        ("a red dog left of a blue dog, above a red car", "relation", [True, True]),
        ("a red dog left of a blue dog above a red car", "relation", [True, True]),
        ("a blue dog right of a red dog, left of a red car", "relation", [True, False]),
        ("a car, a red dog, left of a blue dog", "relation", [True]),
        ("a red dog next to a blue dog", "relation", [True]),
        ("a red dog. Behind a blue dog", "relation", []),
        ("the grass and the sea", "stuff", [True, False]),
    ],
)
def test_claims(text: str, kind: str, wanted: list[bool]) -> None:
    assert _verdicts(text, kind) == wanted


def _row(text: str, **phrases: int | tuple[int, ...]) -> Annotation:
    return row(*OBJECTS[:2], dense_caption=dense(text, **phrases))


@pytest.mark.parametrize(
    ("text", "ours", "truth"),
    [
        ("A dog.", 1.0, 1.0),
        ("A dog and a car.", 0.0, 1.0),
        ("A dog and a lamp.", 0.0, 0.0),
        ("An animal on the sand.", 1.0, 1.0),
    ],
)
def test_invented_classes(text: str, ours: float, truth: float) -> None:
    scores = dense_scores([pair(_row(text), TRUE, LEXICON)], LEXICON)
    assert scores["dense_caption.no_invented_class"] == ours
    assert scores["dense_caption.no_invented_class_truth"] == truth


def test_images_without_dense_caption() -> None:
    pairs = [pair(_row("A dog."), TRUE, LEXICON), pair(row(), TRUE, LEXICON)]
    scores = dense_scores(pairs, LEXICON)
    assert scores["dense_caption.coverage"] == 0.5
    assert scores["dense_caption.no_invented_class"] == 1.0


def _recall(text: str, **phrases: int | tuple[int, ...]) -> float | None:
    return mask_recall([pair(_row(text, **phrases), TRUE, LEXICON)], LEXICON)


def test_mask_recall_counts_every_true_thing_once() -> None:
    assert _recall("a red dog, a red dog", a_red_dog=0) == pytest.approx(1 / 3)
    assert _recall("two dogs", two_dogs=(0, 1)) == pytest.approx(2 / 3)
    assert _recall("a red dog") == 0.0


def test_mask_recall_needs_the_words_and_the_mask() -> None:
    assert _recall("the lamp", the_lamp=0) == 0.0
    assert _recall("a red car", a_red_car=0) == 0.0


def test_a_bad_pair_does_not_hide_a_good_one() -> None:
    # The best mask overlap of all belongs to a phrase with the wrong words.
    assert _recall("a lamp and a blue dog", a_lamp=0, a_blue_dog=1) == pytest.approx(1 / 3)


def test_similarity() -> None:
    similarity = TextSimilarity.fit(["red dog", "blue dog", "red car"])
    assert similarity("red dog", "Red dog") == pytest.approx(1.0)
    assert similarity("red dog", "blue lamp") < 0.1
    assert similarity("red dog", "dog") > similarity("red dog", "red car")
    assert similarity("", "dog") == 0.0
