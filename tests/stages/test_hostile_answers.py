"""Whatever a language model answers, a row has checked values or says why not, and soon."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from grand_pipeline import inert
from grand_pipeline.columns import (
    ATTRIBUTES,
    CAPTIONS,
    CONTEXT,
    DENSE_CAPTION,
    DENSE_DRAFT,
    DEPTH_MAP,
    DETECTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    PHRASE_BOXES,
    PHRASES,
    Column,
)
from grand_pipeline.generation import Generation
from grand_pipeline.record import Record
from grand_pipeline.references import parse
from grand_pipeline.stage import Failed, Row
from grand_pipeline.structured import read
from grand_pipeline.types import DenseCaption as Grounded
from grand_pipeline.types import DepthMap, Detection, Landmark, Phrase, PhraseBox
from prompts import Message
from stages.chat import GREEDY, STOP, Answer, Decoding
from stages.level1.landmark import LandmarkStage
from stages.level1.region_texts import RegionTexts
from stages.level2.captions import Captions
from stages.level3.dense_caption import Author, DenseCaption
from stages.level3.dense_grounding import DenseGrounding
from stages.level4.context import Context
from stages.witness import Witness
from tests.attacks import ATTACKS
from tests.records import record_of
from tests.stages.test_feedback import VALUES
from tests.stages.test_properties import chain
from tests.tiny.chats import Parrot

SECONDS = 10
MANY = 20_000
IDS = {0, 1, 2}
RIGHT = ("json_twice", "json_surrogate", "fence_open")
"""Answers that say what is true, however oddly."""


def mention(phrase: Any, ids: Any) -> str:
    return json.dumps({"caption": "A dog.", "mentions": [{"phrase": phrase, "objects": ids}]})


ANSWERS: dict[str, str] = {
    **ATTACKS,
    "unknown_id": "<p>A dog</p>[99] stands by <p>a car</p>[-1][2147483648].",
    "huge_id": f"<p>A dog</p>[{'9' * 5000}] stands.",
    "wrong_id": "<p>A dog</p>[0] and <p>a car</p>[1] stand on <p>grass</p>[0, 1].",
    "html": "<b>A dog</b><script>alert(1)</script> <p class='x'>a car</p>[0]",
    "nested": "<p><p>A dog</p>[1]</p>[0] <p>a <p>car</p>[0][1]",
    "nested_deep": "<p>" * MANY + "dog" + "</p>[1]" * MANY,
    "nested_ids": "A dog " + "[1" * MANY + "]" * MANY,
    "nested_bars": "A dog " + "<|" * MANY + "|>" * MANY,
    "blanks": "A dog" + " " * MANY + "x" + "\n" * MANY,
    "opening": "A dog <p>" * MANY,
    "letters": "x" * 300_000,
    "repeated": "<p>A dog</p>[1] is here. " * MANY,
    "same_again": "A dog is here. " * 50,
    "json_unknown_id": mention("A dog", [99, -1, 10**30]),
    "json_elsewhere": mention("A giraffe", [1]),
    "json_nan": '{"caption": NaN, "mentions": [{"phrase": "A dog", "objects": [NaN]}]}',
    "json_infinite": '{"caption": "A dog.", "mentions": [{"phrase": "A dog", "objects": [1e999]}]}',
    "json_twice": '{"caption": "x", "mentions": [], "caption": "A dog.", "mentions": '
    '[{"phrase": "A dog", "objects": [99], "objects": [1]}]}',
    "json_no_text": '{"caption": {"a": ["A dog"]}, "mentions": []}',
    "json_number": mention(7, [1]),
    "json_word_ids": mention("A dog", "1"),
    "json_bare_id": mention("A dog", 1),
    "json_digits": '{"caption": "A dog.", "mentions": [{"phrase": "A dog", "objects": [1'
    + "0" * 5000
    + "]}]}",
    "json_deep": '{"caption": ' + "[" * MANY,
    "json_deeper": '{"caption": "A dog.", "mentions": ' + "[" * MANY + "]" * MANY + "}",
    "json_surrogate": '{"caption": "A dog \\ud800.", "mentions": '
    '[{"phrase": "A dog", "objects": [1]}]}',
    "json_many": json.dumps(
        {"caption": "a dog " * 3000, "mentions": [{"phrase": "a dog", "objects": [1]}] * 3000}
    ),
    "json_marks": mention("<p>A dog</p>[0]", [1]),
    "fence_open": "```json\n" + mention("A dog", [1]),
    "fence_blank": "```json\n" + "\n" * 100_000 + "{",
    "fence_twice": "```json\n```json\n" + mention("A dog", [1]) + "\n```\n```",
    "cut": mention("A dog", [1])[:-5],
}


@dataclass(frozen=True)
class Saying(Parrot):
    """Gives the same answer whatever is asked."""

    text: str = ""

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        return [Answer(self.text, STOP) for _ in chats]


@dataclass(frozen=True)
class Seeing:
    """A model that sees, and says the same of every picture."""

    text: str
    answers: bool = True

    def ask(self, images: Any, prompts: Any, writing: Any) -> list[str]:
        return [self.text] * len(images)

    def likeliest(self, images: Any, prompts: Any, words: Any) -> list[int]:
        return [0] * len(images)


def stored(row: Row | Failed, column: Column[Any]) -> Any:
    """A value as it comes back from a file; None for a row that says why it has none."""
    if isinstance(row, Failed):
        assert row.reason
        return None
    return column.decode(pa.array([column.encode(row[column])], column.type).to_pylist()[0])


def seen(values: Any) -> Record:
    """A record with an image of one colour."""
    plain = {column.name: column.encode(value) for column, value in values.items()}
    return Record("0" * 32, "a", 100, 100, plain, lambda: Image.new("RGB", (100, 100)))


def check(draft: Generation, caption: Grounded) -> None:
    """Spans cut out words of the text, apart from each other, and name objects that are there."""
    end = 0
    for span in caption.spans:
        assert end <= span.start < span.end <= len(caption.text)
        assert span.object_ids and set(span.object_ids) <= IDS
        end = span.end
    if caption.verified and draft.review is not None:
        assert draft.review.verified and not draft.review.failed
    elif caption.verified:
        marked = read(draft.answer).marked
        assert marked and all(set(piece.ids or ()) <= IDS for piece in marked)


@pytest.mark.parametrize("kind", ["references", "json"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_a_checked_caption_or_says_why_not(name: str, kind: Any) -> None:
    begun = time.process_time()
    prompt = "dense_caption/json" if kind == "json" else "dense_caption/default"
    text = inert.encodable(ANSWERS[name])  # As every answer of a server is made.
    eyes = Witness(Seeing(text), "feedback/witness")
    for rounds in (0, 1):
        stage = DenseCaption(prompt=prompt, answer=kind, rounds=rounds, attempts=2)
        author = Author(Saying(text=text), eyes if rounds else None)
        (row,) = stage.annotate(author, [seen(VALUES)])
        draft = stored(row, DENSE_DRAFT)
        if draft is None:
            continue
        for match in ("plain", "always"):
            values = {**VALUES, LINKS: (), DENSE_DRAFT: draft}
            (row,) = DenseGrounding(match=match).annotate(None, [record_of(values)])
            caption = stored(row, DENSE_CAPTION)
            check(draft, caption)
            assert rounds or caption.verified == (name in RIGHT)
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("name", ANSWERS)
def test_other_texts_are_kept_as_texts_or_say_why_not(name: str) -> None:
    text = inert.encodable(ANSWERS[name])
    (context,) = Context().annotate(Saying(text=text), [record_of(VALUES)])
    told = stored(context, CONTEXT)
    assert told is None or told.answer == text
    record, model = seen(VALUES), Seeing(text)
    (caption,) = Captions(source="s").annotate(model, [record])
    assert "\n" not in stored(caption, CAPTIONS.of("s"))
    (texts,) = RegionTexts(source="s").annotate(model, [record])
    assert {one.object_id for one in stored(texts, ATTRIBUTES.of("s"))} <= IDS
    stage = LandmarkStage(model="m")
    (landmark,) = stage.annotate(model, [record])
    place = stored(landmark, LANDMARK)
    assert place.fine_category in dict(stage.categories)[place.category]
    assert len(place.source) < 300


def test_what_is_nested_without_end_leaves_no_marks() -> None:
    for name in ("nested_deep", "nested_ids", "nested_bars", "opening"):
        answer = parse(ANSWERS[name])
        assert not answer.clean
        assert not any(mark in piece.text for piece in answer.pieces for mark in "<>[]")


@pytest.mark.parametrize("match", ["apart", "together"])
def test_stages_live_with_any_names(match: str) -> None:
    """From fusion to the grounded caption; objects beside each other or all in one place."""
    texts = [inert.encodable(text[:5000]) for text in ATTACKS.values()]
    boxes = [(float(n if match == "apart" else 0), 0.0, n + 9.0, 9.0) for n in range(len(texts))]
    found = tuple(map(Detection, boxes, repeat(0.9), texts))
    phrases = tuple(Phrase(f"c{n}", text, text, 0, len(text)) for n, text in enumerate(texts))
    answer = " ".join(f"<p>{text[:3000]}</p>[{n}]" for n, text in enumerate(texts))
    begun = time.process_time()
    known = chain(
        {
            **{DETECTIONS.of(eye): found for eye in "ab"},
            **{CAPTIONS.of(phrase.caption): phrase.text for phrase in phrases},
            PHRASES: phrases,
            PHRASE_BOXES.of("g"): tuple(map(PhraseBox, texts, boxes, repeat(0.9))),
            LANDMARK: Landmark(texts[1], texts[2], "m"),
            DEPTH_MAP: DepthMap.of(np.ones((2, 3), np.float32)),
            DENSE_DRAFT: Generation("p", answer, "l", STOP),
        }
    )
    assert time.process_time() - begun < 3 * SECONDS
    ids = {one.id for one in known[INSTANCES]}
    assert len(ids) > 1
    assert all(set(span.object_ids) <= ids for span in known[DENSE_CAPTION].spans)
