"""What language models will cost, from a run's texts or from what is assumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from grand_pipeline import estimate, lock
from grand_pipeline.cli import app
from grand_pipeline.columns import CAPTIONS, CONTEXT, INSTANCES, LANDMARK, SCENE_GRAPH, Column
from grand_pipeline.generation import Generation, Review
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.record import Record
from grand_pipeline.stage import Questions, Reads, Row, Stage, Writes
from grand_pipeline.store import Run
from grand_pipeline.types import Instance, Landmark
from grand_pipeline.worker import annotate_shard
from tests.fakes import make_run

REVIEW = Review(3, 1, 0, (), (), (), verified=True)


@dataclass(frozen=True, kw_only=True)
class Source(Stage[None]):
    """Writes the same value for every image."""

    level: ClassVar[int] = 1
    values: ClassVar[dict[Column[Any], Any]] = {
        SCENE_GRAPH: "a cat",
        INSTANCES: tuple(Instance(n, "object", "thing", (0, 0, 1, 1), 1.0, "cat") for n in (0, 1)),
    }

    @classmethod
    def name(cls) -> str:
        return "source"

    @property
    def reads(self) -> Reads:
        return ()

    @property
    def writes(self) -> Writes:
        return tuple(self.values)

    def load(self, device: str) -> None:
        return None

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [self.values] * len(records)


@dataclass(frozen=True, kw_only=True)
class Asking(Source):
    """Asks as it is told to, and has its answers."""

    model: str = "some/llm"
    asked: ClassVar[Questions]
    values: ClassVar[dict[Column[Any], Any]] = {}

    @classmethod
    def name(cls) -> str:
        return "asking"

    @property
    def models(self) -> tuple[str, ...]:
        return ()

    @property
    def reads(self) -> Reads:
        return (SCENE_GRAPH, INSTANCES)

    @property
    def questions(self) -> Questions:
        return self.asked


def plan(asked: Questions, answer: Any = None, **options: Any) -> Plan:
    class Stage(Asking):
        values: ClassVar[dict[Column[Any], Any]] = {asked.answers: answer}

    Stage.asked = asked
    return make_plan([Source(), Stage(**options)])


def cost(plan: Plan, images: int = 10, run: Run | None = None) -> estimate.Cost:
    (found,) = estimate.costs(plan, images, 100.0, run)
    return found


def done(folder: Path, plan: Plan, *keys: str) -> Run:
    run = make_run(folder)
    with lock.hold(run.root) as token:
        for key in keys:
            annotate_shard(run, plan.step(key), None, "00000", token)
    return run


WRITER = Questions(frame="Say it.", graph=SCENE_GRAPH, longest=90, answers=CONTEXT)


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("a cat", 2), ("houses elephants", 3), ("[12] car.", 6), ("zoë's", 3)],
)
def test_tokens_are_pieces_of_words_and_marks(text: str, count: int) -> None:
    assert estimate.tokens(text) == count


def test_without_a_run_all_is_assumed_and_said() -> None:
    found = cost(plan(WRITER))
    assert (found.stage, found.model, found.prompts) == ("asking", "some/llm", 10)
    assert (found.tokens_in, found.tokens_out) == (10 * (3 + estimate.GRAPH_TOKENS), 300)
    assert (found.tokens_in_mean, found.tokens_out_mean) == (503.0, 30.0)
    assert found.seconds == round((300 + estimate.READING * 5030) / 100, 1)
    assert found.basis == (
        "in: scene graphs of 500 tokens assumed; out: a third of the longest answer (90) assumed"
    )


def test_scene_graphs_of_a_run_are_counted(tmp_path: Path) -> None:
    steps = plan(WRITER)
    found = cost(steps, run=done(tmp_path, steps, "source"))
    assert (found.tokens_in_mean, found.tokens_out_mean) == (5.0, 30.0)
    assert found.basis.startswith("in: 3 scene graphs of the run; out: a third")


def test_what_was_asked_and_answered_is_counted(tmp_path: Path) -> None:
    steps = plan(WRITER, Generation("one two three", "a b c d", "m", "stop"))
    found = cost(steps, run=done(tmp_path, steps, "source", "asking"))
    assert (found.tokens_in, found.tokens_out) == (30, 40)
    assert found.basis == "in: 3 prompts of the run; out: 3 answers of the run"


def test_revisions_cost(tmp_path: Path) -> None:
    asked = Questions(longest=90, answers=CONTEXT, revised=True)
    steps = plan(asked, Generation("one two", "a b c", "m", "stop", review=REVIEW))
    found = cost(steps)
    assert found.prompts == 20 and "1 revisions per image assumed" in found.basis
    found = cost(steps, run=done(tmp_path, steps, "source", "asking"))
    assert (found.prompts, found.tokens_out) == (40, 120)
    assert found.tokens_in == 10 * 2 + 30 * (2 + 3 + estimate.FAULT_TOKENS)
    assert "3 revisions per image seen" in found.basis


def test_questions_about_objects_are_as_many_as_objects(tmp_path: Path) -> None:
    asked = Questions(per_object=True, sees=True, longest=30, answers=CAPTIONS.of("x"))
    steps = plan(asked, "red and round")
    assert cost(steps).prompts == 10 * estimate.OBJECTS
    found = cost(steps, run=done(tmp_path, steps, "source", "asking"))
    assert (found.prompts, found.tokens_out) == (20, 60)
    assert found.tokens_in_mean == estimate.IMAGE_TOKENS


def test_a_landmark_is_two_answers(tmp_path: Path) -> None:
    asked = Questions(times=2, sees=True, frame="Which?", longest=16, answers=LANDMARK)
    steps = plan(asked, Landmark("Outdoor scene", "Urban", "m"))
    found = cost(steps, run=done(tmp_path, steps, "source", "asking"))
    assert (found.prompts, found.tokens_out_mean) == (20, 2.0)


def test_models_that_write_nothing_are_not_asked(tmp_path: Path) -> None:
    clip = plan(WRITER, model="openai/clip-vit-large-patch14-336")
    assert estimate.costs(clip, 10, 100.0) == ()
    (tmp_path / "config.json").write_text('{"architectures": ["SiglipModel"]}')
    assert estimate.costs(plan(WRITER, model=str(tmp_path)), 10, 100.0) == ()
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert len(estimate.costs(plan(WRITER, model=str(tmp_path)), 10, 100.0)) == 1


def test_no_images_cost_nothing() -> None:
    found = cost(plan(WRITER), images=0)
    assert (found.prompts, found.tokens_in_mean, found.seconds) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (119, "119 s"), (120, "2 min"), (10000, "2.78 h"), (1e6, "11.6 days")],
)
def test_durations_are_told(seconds: float, words: str) -> None:
    assert estimate.duration(seconds) == words


def test_the_plan_tells_what_images_cost(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(b"not looked at")
    asked = ["plan", "--images", str(tmp_path), "--tokens-per-second", "50"]
    told = CliRunner().invoke(app, [*asked, "--json"])
    assert told.exit_code == 0
    report = json.loads(told.stdout)["cost"]
    assert (report["images"], report["tokens_per_second"]) == (3, 50.0)
    assert [row["stage"] for row in report["stages"]] == [
        "captions.blip",
        "dense_caption",
        "context",
    ]
    assert report["seconds"] == pytest.approx(sum(row["seconds"] for row in report["stages"]))
    table = CliRunner().invoke(app, asked)
    assert "language models, 3 images" in table.stdout
    assert "scene graphs of 500 tokens assumed" in table.stdout
