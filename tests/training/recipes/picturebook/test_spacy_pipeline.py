from __future__ import annotations

import numpy as np
import pytest

from training.recipes.picturebook import spacy_pipeline
from training.recipes.picturebook.sentences import sentence


@pytest.mark.parametrize("seed", range(60))
def test_every_sentence_is_one_tree(seed: int) -> None:
    tokens = sentence(np.random.default_rng(seed)).tokens
    roots = [n for n, token in enumerate(tokens) if token.head == n]
    assert [tokens[n].dep for n in roots] == ["ROOT"]
    for start in range(len(tokens)):
        place, steps = start, 0
        while tokens[place].head != place and steps <= len(tokens):
            place, steps = tokens[place].head, steps + 1
        assert place == roots[0]


def test_a_few_steps_teach_the_phrases_of_short_captions() -> None:
    gold = [
        [(a, "DET", 1, "det"), (noun, "NOUN", 1, "ROOT"), (on, "ADP", 1, "prep"),
         ("the", "DET", 4, "det"), (place, "NOUN", 2, "pobj")]
        for a in ("a", "the") for noun in ("dog", "cat", "car") for on in ("on", "in")
        for place in ("grass", "road")
    ] * 4  # fmt: skip
    nlp = spacy_pipeline.build()
    documents = [spacy_pipeline.reference(nlp, tagged) for tagged in gold]
    spacy_pipeline.train(nlp, documents, epochs=15, seed=0)
    assert spacy_pipeline.scores(nlp, gold[:8]) == {"precision": 1.0, "recall": 1.0, "exact": 1.0}


def test_captions_of_rendered_scenes_are_well_formed() -> None:
    nlp = spacy_pipeline.build()
    for tagged in spacy_pipeline.world(3, seed=5):
        document = spacy_pipeline.reference(nlp, tagged)
        assert list(document.noun_chunks)
