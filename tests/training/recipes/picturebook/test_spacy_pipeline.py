from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grand_pipeline.picturebook.language import TaggedToken
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


def short_captions() -> list[list[TaggedToken]]:
    return [
        [(a, "DET", 1, "det"), (noun, "NOUN", 1, "ROOT"), (on, "ADP", 1, "prep"),
         ("the", "DET", 4, "det"), (place, "NOUN", 2, "pobj")]
        for a in ("a", "the") for noun in ("dog", "cat", "car") for on in ("on", "in")
        for place in ("grass", "road")
    ] * 4  # fmt: skip


def trained(out: Path, epochs: int) -> Any:
    return spacy_pipeline.train(short_captions(), epochs, 0, out)[0]


def test_a_few_steps_teach_the_phrases_of_short_captions(tmp_path: Path) -> None:
    nlp, gold = trained(tmp_path, 15), short_captions()
    assert spacy_pipeline.scores(nlp, gold[:8]) == {"precision": 1.0, "recall": 1.0, "exact": 1.0}


def test_a_training_goes_on_with_the_epoch_after_the_last_saved_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spacy_pipeline, "_rate", lambda epoch, epochs: 1e-3)
    whole = trained(tmp_path / "whole", 3)
    trained(tmp_path / "cut", 1)
    resumed = trained(tmp_path / "cut", 3)
    assert weights(resumed) == weights(whole)
    log = (tmp_path / "cut" / "state" / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in log] == [3, 6, 9]


def weights(nlp: Any) -> dict[str, bytes]:
    return {name: pipe.model.to_bytes() for name, pipe in nlp.pipeline}


def test_captions_of_rendered_scenes_are_well_formed() -> None:
    nlp = spacy_pipeline.build()
    for tagged in spacy_pipeline.world(3, seed=5):
        document = spacy_pipeline.reference(nlp, tagged)
        assert list(document.noun_chunks)
