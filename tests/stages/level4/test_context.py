from __future__ import annotations

import pytest

from grand_pipeline.columns import CONTEXT, SCENE_GRAPH
from grand_pipeline.errors import SettingsError
from stages.level4.context import Context
from tests.records import record_of
from tests.tiny.chats import Parrot, llama
from tests.tiny.checkpoints import checkpoint

GRAPH = "Foreground:\n- group 0: [0] cat (red)"


def test_one_generation_per_record_in_order() -> None:
    stage = Context(model="parrot", prompt="context/picturebook")
    records = [record_of({SCENE_GRAPH: f"{GRAPH}; [{n}] dog"}) for n in (1, 2)]
    rows = stage.annotate(Parrot(), records)
    assert [row[CONTEXT].answer[-7:] for row in rows] == ["[1] dog", "[2] dog"]
    assert {row[CONTEXT].source for row in rows} == {"parrot"}
    assert all(set(row) == set(stage.writes) for row in rows)


def test_a_real_model_answers_within_its_limit() -> None:
    stage = Context(
        model=checkpoint(llama),
        prompt="context/picturebook",
        max_new_tokens=6,
        attempts=1,
        accept=("stop", "length", "empty"),
    )
    (row,) = stage.annotate(stage.load("cpu"), [record_of({SCENE_GRAPH: GRAPH})])
    told = row[CONTEXT]
    assert told.finish_reason in stage.accept
    assert GRAPH in told.prompt and len(told.answer) <= 6


def test_the_prompt_is_part_of_what_identifies_the_stage() -> None:
    assert Context().prompts == ("context/default",)
    assert Context(prompt="context/picturebook").prompts == ("context/picturebook",)
    with pytest.raises(SettingsError, match="no prompt is called 'context/nothing'"):
        Context(prompt="context/nothing").load("cpu")
