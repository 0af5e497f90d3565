"""Relations are compared in true ids, between matched objects."""

from __future__ import annotations

import pytest

from grand_pipeline.evaluation.lexicon import picturebook_lexicon
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import pair
from grand_pipeline.evaluation.relations import normal, relation_scores
from tests.evaluation.rows import related, row, thing

DOG, CAT, CAR = (0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 50.0, 20.0), (0.0, 40.0, 30.0, 60.0)
TRUE = row(
    thing(0, "dog", DOG),
    thing(1, "cat", CAT),
    thing(2, "car", CAR),
    relations=related((0, "left of", 1), (0, "above", 2)),
)


def _scores(*triples: tuple[int, str, int], labels: str = "dog cat car") -> Scores:
    boxes = (DOG, CAT, CAR)
    things = [thing(7 - i, label, boxes[i]) for i, label in enumerate(labels.split())]
    ours = row(*things, relations=related(*triples))
    return relation_scores([pair(ours, TRUE, picturebook_lexicon())])


def test_ids_are_translated() -> None:
    assert _scores((7, "left of", 6), (7, "above", 5))["relations.f1"] == 1.0
    assert _scores((6, "left of", 7), (5, "above", 7))["relations.f1"] == 0.0


def test_precision_and_recall() -> None:
    scores = _scores((7, "left of", 6), (7, "in front of", 5), (6, "above", 5))
    assert scores["relations.precision"] == pytest.approx(1 / 3)
    assert scores["relations.recall"] == pytest.approx(1 / 2)
    assert scores["relations.f1"] == pytest.approx(0.4)


def test_unmatched_ends_are_left_out_but_count_in_all() -> None:
    scores = _scores((7, "left of", 6), (7, "above", 5), labels="dog cat bus")
    assert scores["relations.f1"] == 1.0
    assert scores["relations.f1_all"] == 0.5


def test_without_relations_there_is_no_score() -> None:
    assert _scores()["relations.f1"] is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ((0, "right of", 1), (1, "left of", 0)),
        ((0, "Behind", 1), (1, "in front of", 0)),
        ((0, "under", 1), (1, "above", 0)),
        ((0, "inside", 1), (0, "in", 1)),
        ((0, "holding", 1), (0, "holding", 1)),
    ],
)
def test_readings_of_one_fact(said: tuple[int, str, int], meant: tuple[int, str, int]) -> None:
    assert normal(*said) == meant
