"""How many words are hidden, which, and by what."""

from __future__ import annotations

import numpy as np

from training.models.xvlm.losses import IGNORED
from training.models.xvlm.masking import PAPER, RELEASE, Masking, hide

MASK, VOCABULARY = 4, tuple(range(10, 50))
IDS = [2, *range(100, 120), 3]
WORDS: list[int | None] = [None, *range(20), None]


def _many(
    masking: Masking, times: int = 2000, words: list[int | None] = WORDS
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = [hide(IDS[: len(words)], words, VOCABULARY, MASK, masking, rng) for _ in range(times)]
    read, labels = zip(*drawn, strict=True)
    return np.stack(read), np.stack(labels)


def test_a_quarter_of_the_tokens_80_10_10() -> None:
    read, labels = _many(PAPER)
    hidden = labels != IGNORED
    assert abs(hidden[:, 1:-1].mean() - 0.25) < 0.01
    assert abs((read[hidden] == MASK).mean() - 0.8) < 0.02
    assert abs((read[hidden] == labels[hidden]).mean() - 0.1) < 0.01
    assert abs(np.isin(read[hidden], VOCABULARY).mean() - 0.1) < 0.01


def test_the_rest_is_as_it_was() -> None:
    read, labels = _many(PAPER, 50)
    open_ = labels == IGNORED
    assert (read[open_] == np.tile(IDS, (50, 1))[open_]).all()
    assert (labels[~open_] == np.tile(IDS, (50, 1))[~open_]).all()


def test_special_tokens_stay_and_one_word_at_least_goes() -> None:
    for masking in (PAPER, RELEASE):
        _, labels = _many(masking, 500, [None, 0, None])
        assert (labels[:, [0, 2]] == IGNORED).all()
        assert (labels[:, 1] != IGNORED).all()


def test_a_text_of_special_tokens_alone_is_left() -> None:
    _, labels = _many(PAPER, 5, [None, None])
    assert (labels == IGNORED).all()


def test_the_release_masks_whole_words_and_no_more_than_eight() -> None:
    words: list[int | None] = [None, *(place // 2 for place in range(20)), None]
    _, labels = _many(RELEASE, 500, words)
    hidden = labels[:, 1:-1] != IGNORED
    assert (hidden[:, ::2] == hidden[:, 1::2]).all()
    assert (hidden.sum(1) <= 5).all() and hidden.any(1).all()
    many: list[int | None] = list(range(80))
    _, labels = _many(RELEASE, 200, [*many[: len(IDS)]])
    assert ((labels != IGNORED).sum(1) <= 8).all()
