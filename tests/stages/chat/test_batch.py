"""Rows leave a batch when they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stages.chat import batch
from tests.tiny import chats

END, PAD = 1, 0


class Reciter:
    """Writes the script that a row's first token names; pads a row that has ended, as transformers
    does; remembers the rows of every call."""

    def __init__(self, scripts: Sequence[Sequence[int]]) -> None:
        self.scripts = [list(script) for script in scripts]
        self.rows: list[list[int]] = []

    def generate(
        self, *, input_ids: torch.Tensor, max_new_tokens: int, **options: Any
    ) -> SimpleNamespace:
        self.rows.append(input_ids[:, 0].tolist())
        held = input_ids.shape[1] - 1
        parts = [self.scripts[row][held : held + max_new_tokens] for row in self.rows[-1]]
        longest = max(map(len, parts))
        new = [part + [PAD] * (longest - len(part)) for part in parts]
        return SimpleNamespace(sequences=torch.cat([input_ids, torch.tensor(new)], dim=1))


def write(scripts: Sequence[Sequence[int]], most: int) -> tuple[list[batch.Written], Reciter]:
    model = Reciter(scripts)
    tokens = torch.arange(len(scripts))[:, None]
    found = batch.write(model, tokens, torch.ones_like(tokens), frozenset({END}), most)
    return found, model


def test_rows_that_have_ended_leave() -> None:
    long = [5] * (2 * batch.STRETCH)
    answers, model = write([[7, END], [*long, END], [8] * batch.STRETCH + [9, END]], 500)
    assert answers == [([7], True), (long, True), ([8] * batch.STRETCH + [9], True)]
    assert model.rows == [[0, 1, 2], [1, 2], [1]]


def test_the_limit_holds_across_stretches() -> None:
    most = batch.STRETCH + 5
    answers, model = write([[5] * 900, [6, END]], most)
    assert answers == [([5] * most, False), ([6], True)]
    assert len(model.rows) == 2


def test_no_rows() -> None:
    empty = torch.zeros(0, 3, dtype=torch.long)
    assert batch.write(Reciter([]), empty, empty, frozenset({END}), 5) == []


@pytest.mark.parametrize("most", [7, batch.STRETCH, 3 * batch.STRETCH])
def test_a_real_model_says_the_same_row_by_row(most: int) -> None:
    torch.manual_seed(3)
    model, tokenizer = chats.llama()
    model.eval()
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    texts = ["what is it?", "go on", "a much longer question than the others are"]
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    # Any token may end an answer here, so that rows end at different places.
    ends = frozenset({tokenizer.eos_token_id, 60, 61, 62})
    given = inputs["input_ids"], inputs["attention_mask"]
    together = batch.write(model, *given, ends, most)
    with torch.inference_mode():
        plain = model.generate(
            input_ids=given[0], attention_mask=given[1], max_new_tokens=most, do_sample=False
        )
    cut = [batch._ended(row, ends) for row in plain[:, given[0].shape[1] :].tolist()]
    assert together == cut
