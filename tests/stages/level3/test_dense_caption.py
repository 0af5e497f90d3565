from __future__ import annotations

import pytest

from grand_pipeline.columns import DENSE_DRAFT, SCENE_GRAPH
from grand_pipeline.errors import SettingsError
from stages.level3.dense_caption import DenseCaption
from tests.records import record_of
from tests.tiny.chats import Parrot, llama
from tests.tiny.checkpoints import checkpoint

GRAPH = "Foreground:\n- group 0: [0] cat (red)"


def test_one_generation_per_record_in_order() -> None:
    stage = DenseCaption(model="parrot", prompt="dense_caption/picturebook")
    records = [record_of({SCENE_GRAPH: f"{GRAPH}; [{n}] dog"}) for n in (1, 2)]
    rows = stage.annotate(Parrot(), records)
    assert [row[DENSE_DRAFT].answer[-7:] for row in rows] == ["[1] dog", "[2] dog"]
    assert {row[DENSE_DRAFT].source for row in rows} == {"parrot"}
    assert all(set(row) == set(stage.writes) for row in rows)


def test_a_real_model_answers_within_its_limit() -> None:
    stage = DenseCaption(
        model=checkpoint(llama), prompt="dense_caption/picturebook", max_new_tokens=6
    )
    (row,) = stage.annotate(stage.load("cpu"), [record_of({SCENE_GRAPH: GRAPH})])
    told = row[DENSE_DRAFT]
    assert told.finish_reason in ("stop", "length")
    assert GRAPH in told.prompt and len(told.answer) <= 6


def test_the_prompt_is_part_of_what_identifies_the_stage() -> None:
    assert DenseCaption().prompts == ("dense_caption/default",)
    assert DenseCaption(prompt="dense_caption/picturebook").prompts == (
        "dense_caption/picturebook",
    )
    with pytest.raises(SettingsError, match="no prompt is called 'dense_caption/nothing'"):
        DenseCaption(prompt="dense_caption/nothing").load("cpu")
