"""What went wrong, kind by kind."""

from __future__ import annotations

from collections import Counter

from grand_pipeline.columns import Annotation
from grand_pipeline.evaluation.failures import KINDS, failures, rows, text
from grand_pipeline.evaluation.lexicon import picturebook_lexicon
from grand_pipeline.evaluation.pairing import pair
from grand_pipeline.types import Box, Caption
from tests.evaluation.rows import dense, related, row, thing

LEXICON = picturebook_lexicon()
HERE, THERE, AWAY = (0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 50.0, 20.0), (0.0, 40.0, 20.0, 60.0)
PARTLY: Box = (10.0, 0.0, 30.0, 20.0)
TRUE = row(thing(0, "dog", HERE, color="red"), thing(1, "ball", THERE, color="blue"))


def _kinds(ours: Annotation, true: Annotation = TRUE) -> dict[str, str]:
    found = failures([pair(ours, true, LEXICON)], LEXICON)
    assert {f.kind for f in found} <= set(KINDS)
    return {f.kind: f.detail for f in found}


def test_the_truth_has_no_failures() -> None:
    true = row(
        *TRUE.objects,
        relations=related((0, "left of", 1)),
        captions=(Caption("blip", "a red dog", ()),),
        dense_caption=dense("A red dog left of a blue ball."),
    )
    assert _kinds(true, true) == {}


def test_another_class_on_a_true_thing_is_one_failure_and_not_an_invention() -> None:
    ours = row(thing(0, "cat", HERE, color="red"), TRUE.objects[1])
    assert _kinds(ours) == {"wrong class": "dog as cat"}


def test_ways_to_lose_a_thing() -> None:
    ball = TRUE.objects[1]
    assert _kinds(row(ball)) == {"missed": "dog"}
    assert _kinds(row(ball, thing(2, "dog", HERE, status="floating"))) == {"floating": "dog"}
    loose = _kinds(row(ball, thing(2, "dog", PARTLY)))
    assert loose == {"loose box": "dog", "invented": "dog"}


def test_things_too_many() -> None:
    assert _kinds(row(*TRUE.objects, thing(2, "cat", AWAY))) == {"invented": "cat"}
    assert _kinds(row(*TRUE.objects, thing(2, "cat", HERE, score=0.1))) == {"double": "cat"}


def test_parts_of_found_things() -> None:
    poor = thing(0, "dog", HERE, color="green", mask=thing(9, "dog", AWAY).mask)
    found = _kinds(row(poor, TRUE.objects[1]))
    assert found == {"poor mask": "dog", "wrong color": "red as green"}


def test_relations_between_found_things() -> None:
    true = row(*TRUE.objects, relations=related((0, "left of", 1)))
    ours = row(*TRUE.objects, relations=related((0, "above", 1)))
    assert _kinds(ours, true) == {"wrong relation": "above", "missed relation": "left of"}


def test_false_claims_of_texts() -> None:
    ours = row(
        *TRUE.objects,
        captions=(Caption("blip", "a green cat", ()),),
        dense_caption=dense("Two red dogs."),
    )
    assert _kinds(ours) == {"caption class": "cat", "dense claim": "count"}


def test_the_table_names_every_kind_and_an_example() -> None:
    pairs = [pair(row(), TRUE, LEXICON)]
    found = failures(pairs, LEXICON)
    said = text(found, pairs)
    assert all(kind in said for kind in KINDS)
    assert "dog (1)" in said and "0.png" in said
    assert Counter(r["kind"] for r in rows(found, pairs)) == {"missed": 2}
