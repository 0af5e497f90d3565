"""Models that see, behind a server: pictures arrive, and each question fails alone."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.llm_server import MODEL, FakeServer, Reply, Rule, completion, failure, question
from grand_pipeline.columns import ATTRIBUTES, CAPTIONS, DENSE_DRAFT, INSTANCES, LANDMARK
from grand_pipeline.errors import ImageError, SettingsError
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed
from grand_pipeline.types import Attribute, Landmark
from stages import vlm, vlm_chat
from stages.level1.landmark import LandmarkStage
from stages.level1.region_texts import RegionTexts
from stages.level2.captions import Captions
from stages.level3.dense_caption import DenseCaption
from stages.vlm import Question, Writing
from stages.vlm_served import Looking, live, sized
from tests.records import record_of
from tests.stages.chat.fake_vllm import alive, environment
from tests.stages.test_feedback import VALUES
from tests.tiny.records import instance, record

CAPTION, TEXTS = CAPTIONS.of("s"), ATTRIBUTES.of("s")
UNUSABLE = "the model gave no usable answer"


def pictured(asked: Mapping[str, Any]) -> Image.Image:
    """The picture of a question, which stands before its words."""
    seen, words = asked["messages"][-1]["content"]
    assert (seen["type"], words["type"]) == ("image_url", "text")
    head, _, data = seen["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def sized_like(asked: Mapping[str, Any], times: int) -> Reply:
    """Says how large the picture is, and what was asked."""
    width, height = pictured(asked).size
    return completion(f"{width} x {height}: {question(asked)}")


def failing(width: int, rule: Rule = sized_like) -> Rule:
    """Fails for pictures of one width."""

    def replied(asked: Mapping[str, Any], times: int) -> Reply:
        return failure(400, "no") if pictured(asked).width == width else rule(asked, times)

    return replied


def annotated(stage: Any, *records: Record) -> list[Any]:
    return list(stage.annotate(stage.load("cpu"), records))


def at(server: FakeServer, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "endpoint": server.url, "retries": 0} | more


def test_the_picture_arrives_as_it_is() -> None:
    smooth = np.zeros((40, 60, 3), np.uint8)
    smooth[..., 0] = np.linspace(0, 255, 60)
    image = Image.fromarray(smooth)
    with FakeServer() as server:
        model = live(Looking(**at(server)), "cpu")
        answers = vlm.ask_all(model, [Question(lambda: image, None)], Writing(7), 1)
        (asked,) = server.asked
    assert [answer.text for answer in answers] == [vlm_chat.CAPTION]
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == (MODEL, 7, 0.0)
    found = np.asarray(pictured(asked)).astype(int)
    assert found.shape == smooth.shape
    assert abs(found - smooth).max() < 12


@pytest.mark.parametrize(
    ("size", "bounds", "wanted"),
    [
        ((60, 40), (None, None), (60, 40)),
        ((60, 40), (None, 600), (30, 20)),
        ((60, 40), (9600, None), (120, 80)),
        ((61, 40), (None, 600), (30, 19)),
        ((3, 2000), (None, None), (500, 2000)),
        ((1, 1), (None, 1_003_520), (8, 8)),
    ],
)
def test_how_large_pictures_are_sent(size: Any, bounds: Any, wanted: Any) -> None:
    assert sized(Image.new("RGB", size), *bounds).size == wanted


def test_a_caption_that_fails_fails_alone() -> None:
    records = [record((40, width), seed=width) for width in (60, 50, 70)]
    with FakeServer(failing(50)) as server:
        stage = Captions(source="s", prompt="What?", **at(server))
        first, bad, last = annotated(stage, *records)
    assert (first, last) == ({CAPTION: "60 x 40: What?"}, {CAPTION: "70 x 40: What?"})
    assert bad == Failed("the model gave no usable answer: HTTP 400 (no)")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (completion("A cat on", "length"), {CAPTION: "A cat on"}),
        (completion(None, refusal="No."), Failed(f"{UNUSABLE}: refused. Its answer: No.")),
        (completion(None, "content_filter"), Failed(f"{UNUSABLE}: filtered")),
    ],
)
def test_why_an_answer_ended(reply: Reply, found: Any) -> None:
    with FakeServer(lambda asked, times: reply) as server:
        (row,) = annotated(Captions(source="s", **at(server)), record())
    assert row == found


def test_what_can_pass_is_asked_again() -> None:
    def busy(asked: Mapping[str, Any], times: int) -> Reply:
        return sized_like(asked, times) if times else failure(503, "busy", Retry_After="0")

    with FakeServer(busy) as server:
        (row,) = annotated(Captions(source="s", prompt="?", **at(server, retries=1)), record())
    assert row == {CAPTION: "60 x 40: ?"}


def test_images_are_opened_in_their_turn_and_damaged_ones_are_named() -> None:
    opened: list[str] = []

    def opening(one: Record, damaged: bool) -> Record:
        def image() -> Image.Image:
            opened.append(one.image_id)
            if damaged:
                raise ImageError("damaged or truncated")
            return Image.new("RGB", (60, 40))

        return replace(one, open_image=image)

    objects = {INSTANCES: tuple(instance(n, (0, 0, 9.0 + n, 9)) for n in range(3))}
    records = [opening(record(values=objects, seed=n), n == 1) for n in range(3)]
    with FakeServer() as server:
        stage = RegionTexts(source="s", **at(server))
        good, bad, other = annotated(stage, *records)
    assert isinstance(bad, Failed) and "ImageError (damaged or truncated)" in bad.reason
    assert [len(row[TEXTS]) for row in (good, other)] == [3, 3]
    # Once for all objects, though the image is not kept with its record.
    assert [opened.count(one.image_id) for one in (records[0], records[2])] == [1, 1]
    assert not any("_image" in vars(one) for one in records)


def test_objects_are_seen_cut_out_and_the_others_texts_are_kept() -> None:
    boxes = ((0.0, 0.0, 20.0, 10.0), (10.0, 10.0, 34.0, 30.0), (0.0, 0.0, 30.0, 30.0))
    objects = tuple(instance(n + 5, box) for n, box in enumerate(boxes))
    with FakeServer(failing(24)) as server:
        stage = RegionTexts(source="s", prompt="What is the {}?", margin=0.0, **at(server))
        (row,) = annotated(stage, record(values={INSTANCES: objects}))
    assert row == Failed(
        "object 6: the model gave no usable answer: HTTP 400 (no)",
        {
            TEXTS: (
                Attribute(5, "s", "20 x 10: What is the cat?"),
                Attribute(7, "s", "30 x 30: What is the cat?"),
            )
        },
    )


def test_a_marked_object_is_sent_with_the_whole_image() -> None:
    objects = (instance(5, (10.0, 10.0, 34.0, 30.0)),)
    grey = replace(
        record(values={INSTANCES: objects}), open_image=lambda: Image.new("RGB", (60, 40), "grey")
    )
    with FakeServer() as server:
        annotated(RegionTexts(source="s", view="mark", **at(server)), grey)
        pixels = np.asarray(pictured(server.asked[0])).astype(int)
    assert pixels.shape == (40, 60, 3)
    assert abs(pixels[10, 12:32] - (255, 0, 0)).max() < 60
    assert abs(pixels[:6] - 128).max() < 12


def letters(*said: str) -> Rule:
    """Answers to the two questions about a kind of place, and to those under a schema."""

    def rule(asked: Mapping[str, Any], times: int) -> Reply:
        if "response_format" in asked:
            schema = asked["response_format"]["json_schema"]["schema"]
            assert schema["properties"]["answer"]["enum"][0] == "A"
            return completion(said[2])
        return completion(said["Indoor scene" not in question(asked)])

    return rule


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (("B", "(c)", ""), Landmark("Outdoor scene", "Natural landscape", MODEL)),
        (
            ("A park?", "C", '{"answer": "B"}'),
            Landmark(
                "Outdoor scene",
                "Natural landscape",
                f'{MODEL}; likeliest letter, unreadable answer "A park?"',
            ),
        ),
        (("B", "Hm.", "C"), 'unreadable answer "Hm.", and no letter when asked for one'),
        (("B", "Hm.", '{"answer": "Z"}'), 'unreadable answer "Hm.", and no letter when asked for'),
    ],
)
def test_the_kind_of_place(said: tuple[str, str, str], found: Any) -> None:
    with FakeServer(letters(*said)) as server:
        (row,) = annotated(LandmarkStage(**at(server)), record())
    if isinstance(found, Landmark):
        assert row == {LANDMARK: found}
    else:
        assert isinstance(row, Failed) and row.reason.startswith(found)


def test_a_landmark_that_fails_fails_alone() -> None:
    records = [record((40, width)) for width in (60, 50, 70)]
    with FakeServer(failing(50, letters("B", "A", ""))) as server:
        first, bad, last = annotated(LandmarkStage(**at(server)), *records)
        assert len(server.asked) == 5
    assert first == last == {LANDMARK: Landmark("Outdoor scene", "Urban landscape", MODEL)}
    assert bad == Failed("the model gave no usable answer: HTTP 400 (no)")


def test_a_witness_behind_a_server() -> None:
    def rule(asked: Mapping[str, Any], times: int) -> Reply:
        if isinstance(asked["messages"][-1]["content"], str):
            return completion("<p>A red car</p>[0], a wall and a lamp.")
        pictured(asked)
        return completion("No.") if "wall" in question(asked) else failure(400, "no")

    with FakeServer(rule) as server:
        seen = {"witness": MODEL, "witness_endpoint": server.url}
        stage = DenseCaption(rounds=1, context_length=9000, **at(server, **seen))
        shown = replace(record_of(VALUES), open_image=lambda: Image.new("RGB", (30, 20)))
        (row,) = annotated(stage, shown)
    assert set(row[DENSE_DRAFT].review.seen) == {
        '"a wall": no',
        '"a lamp": unclear (the model gave no usable answer: HTTP 400 (no))',
    }
    assert stage.models == () and "witness_endpoint" not in stage.options()


@pytest.mark.parametrize("kind", [Captions, RegionTexts, LandmarkStage])
def test_where_a_model_runs_is_not_what_it_is(kind: Any) -> None:
    named = {} if kind is LandmarkStage else {"source": "s"}
    here, there = kind(model="m", **named), kind(model="m", endpoint="http://a/v1", **named)
    assert here.options() == there.options()
    assert (here.models, there.models) == (("m",), ())
    assert here.needs_image and not here.whole_shards
    assert there.whole_shards and not there.needs_image
    assert kind(model="m", vllm="/env", **named).models == ("m",)


def test_options_that_no_server_has() -> None:
    with pytest.raises(ValueError, match="num_beams = 3"):
        Captions(source="s", endpoint="http://a/v1", num_beams=3)
    with pytest.raises(ValueError, match="no_repeat_ngram = 2"):
        Captions(source="s", vllm="/env", no_repeat_ngram=2)
    with pytest.raises(ValueError, match="num_beams = 2"):
        RegionTexts(source="s", endpoint="http://a/v1", num_beams=2)
    with pytest.raises(ValueError, match="exclude each other"):
        LandmarkStage(endpoint="http://a/v1", vllm="/env")
    with FakeServer() as server:
        with pytest.raises(SettingsError, match="has no location tokens"):
            RegionTexts(source="s", view="box", **at(server)).load("cpu")
        with pytest.raises(SettingsError, match="knows no model 'fkae'"):
            Captions(source="s", **at(server, model="fkae")).load("cpu")
    with FakeServer(context_length=None) as server:
        Captions(source="s", **at(server)).load("cpu")


def test_a_vllm_of_the_worker_s_own(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    folder = str(environment(tmp_path / "env"))
    stage = Captions(
        source="s", model="m", prompt="What?", vllm=folder, vllm_tuning=("--fake-pids", str(pids))
    )
    model = stage.load("cpu")
    assert stage.annotate(model, [record()]) == [{CAPTION: "What?"}]
    del model
    assert alive(pids) == []


def test_the_schema_of_a_choice_is_json() -> None:
    with FakeServer(lambda asked, times: completion(json.dumps({"answer": "B"}))) as server:
        model: Any = live(Looking(**at(server)), "cpu")
        asked = [Question(lambda: Image.new("RGB", (9, 9)), "Which?")]
        assert vlm.choose_all(model, asked, ["ABC"]) == [1]
        wanted = server.asked[0]["response_format"]["json_schema"]
    assert wanted["schema"]["properties"]["answer"]["enum"] == ["A", "B", "C"]
