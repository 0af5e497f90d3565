"""What a picture is shown with: words of the view, prompts, the caption where words are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grand_pipeline.types import Caption, PhraseLink
from tests.tiny import words as tiny
from tests.training.data import made
from training.data import transforms
from training.data.rows import Row
from training.models.groupvit.batches import View, collate, number, sample, tokens, words
from training.models.groupvit.objective import NOTHING

VIEW = View(32, 12, (1.0, 1.0), 0.0, 0, 0, 2, ("a {}", "the {}"))


def _row(*phrases: PhraseLink, captions: tuple[Caption, ...] | None = None) -> Row:
    plain = made.annotation()
    return made.row(
        replace(plain, phrases=phrases, captions=plain.captions if captions is None else captions)
    )


def test_words_are_heads_of_phrases_in_the_singular() -> None:
    row = _row(
        PhraseLink("two red balls on the grass", (0,), "m"),
        PhraseLink("a big ball", (0,), "m"),
        PhraseLink("a box and a blue car", (1,), "m"),
    )
    assert words(row) == ("ball", "box", "car")
    # What the view does not show has no words.
    assert words(transforms.crop(row, (0, 0, 30, 48))) == ("ball",)


def test_a_sample_has_its_caption_and_a_prompt_per_word() -> None:
    tokenizer = tiny.bert_tokenizer()
    row = _row(PhraseLink("a red cat", (0,), "m"), PhraseLink("the blue car", (1,), "m"))
    found = sample(row, np.random.default_rng(0), tokenizer=tokenizer, view=VIEW)
    assert found is not None and found.pixels.shape == (3, 32, 32)
    caption, *prompts = (tokenizer.decode(text[1:-1]) for text in found.texts)
    assert caption == tokenizer.decode(tokens(tokenizer, made.TEXT, 12)[1:-1])
    assert {text.split()[0] for text in prompts} <= {"a", "the"}
    assert sorted(text.split()[1] for text in prompts) == ["car", "cat"]
    assert set(found.said) == {number(made.TEXT), number("cat"), number("car")}
    assert set(found.held) == set(found.said)


def test_the_caption_stands_in_for_missing_words() -> None:
    tokenizer = tiny.bert_tokenizer()
    row = _row(PhraseLink("a red ball", (0,), "m"))
    found = sample(row, np.random.default_rng(0), tokenizer=tokenizer, view=VIEW)
    assert found is not None
    assert found.said == (number(made.TEXT), number("ball"), number(made.TEXT))
    assert found.texts[2].tolist() == found.texts[0].tolist()


def test_a_picture_without_captions_is_of_no_use() -> None:
    rng = np.random.default_rng(0)
    row = _row(captions=())
    assert sample(row, rng, tokenizer=tiny.bert_tokenizer(), view=VIEW) is None


def test_a_batch_pads_texts_and_what_is_said() -> None:
    tokenizer = tiny.bert_tokenizer()
    rows = [made.row(), _row(PhraseLink("a red ball", (0,), "m"))]
    found = [sample(r, np.random.default_rng(0), tokenizer=tokenizer, view=VIEW) for r in rows]
    batch = collate([one for one in found if one])
    assert batch.pixels.shape == (2, 3, 32, 32) and batch.tokens.shape == batch.mask.shape
    lengths = [[len(text) for text in one.texts] for one in found if one]
    assert batch.mask.sum(2).tolist() == lengths
    assert bool((batch.tokens[batch.mask == 0] == 0).all())
    assert batch.held.shape[1] == 32 and set(batch.held[1, 2:].tolist()) == {NOTHING}
    assert batch.ids == (rows[0].image_id, rows[1].image_id)


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_is_the_same_for_the_same_generator(seed: int) -> None:
    view = replace(VIEW, scale=(0.3, 1.0), flip=0.5, color_ops=2, magnitude=9)
    drawn = [
        sample(made.row(), np.random.default_rng(seed), tokenizer=tiny.bert_tokenizer(), view=view)
        for _ in range(2)
    ]
    assert drawn[0] is not None and drawn[1] is not None
    np.testing.assert_array_equal(drawn[0].pixels, drawn[1].pixels)
    assert drawn[0].said == drawn[1].said
