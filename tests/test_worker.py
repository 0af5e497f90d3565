from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from grand_pipeline import lock
from grand_pipeline.columns import CONTEXT, UNUSABLE, ImageRow
from grand_pipeline.errors import WorkerError
from grand_pipeline.generation import Generation
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Reads, Row, Stage, Writes
from grand_pipeline.store import ERROR, SKIPPED, Run
from grand_pipeline.worker import Outcome, annotate_shard
from tests.fakes import Brightness, Caption, Graph, Scripted, make_run


def annotate(run: Run, plan: Plan, key: str, shard: str = "00000") -> Outcome:
    step = plan.step(key)
    with lock.hold(run.root) as token:
        return annotate_shard(run, step, step.stage.load("cpu"), shard, token)


def chain(*stages: Stage[Any]) -> Plan:
    return make_plan(stages)


def test_values_flow_from_stage_to_stage(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    plan = chain(Brightness(), Caption(), Graph())
    for step in plan.steps:
        outcome = annotate(run, plan, step.key)
        assert (outcome.rows, outcome.failed, outcome.skipped) == (3, 0, 0)
    texts = run.read("graph", "00000", ["scene_graph"])["scene_graph"]
    assert texts == ["MEAN FAKE 2.33", "MEAN FAKE 2.67", "MEAN FAKE 3.00"]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_one_bad_image_fails_alone(tmp_path: Path, batch_size: int) -> None:
    run = make_run(tmp_path)
    plan = chain(Brightness(poison=("0001.png",), batch_size=batch_size), Caption())
    assert annotate(run, plan, "brightness.fake").failed == 1
    values = run.read("brightness.fake", "00000", ["tags.fake", ERROR])
    assert [value is None for value in values["tags.fake"]] == [False, True, False]
    assert values[ERROR] == [None, "ValueError: poisoned by 0001.png", None]
    assert annotate(run, plan, "caption.fake").skipped == 1
    assert run.read("caption.fake", "00000", [SKIPPED])[SKIPPED] == [None, "brightness.fake", None]


def test_a_family_reader_does_with_the_members_that_are_left(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    plan = chain(Brightness(poison=("0001.png",)), Brightness(source="other"), Caption())
    for step in plan.steps:
        annotate(run, plan, step.key)
    texts = run.read("caption.fake", "00000", ["captions.fake"])["captions.fake"]
    assert texts[0] == "mean fake 2.33, mean other 2.33"
    assert texts[1] == "mean other 2.67"


def test_changed_and_missing_files_become_error_rows(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    rows = run.shard_images("00000")
    Path(rows[0].uri).write_bytes(Path(rows[1].uri).read_bytes())
    Path(rows[2].uri).unlink()
    plan = chain(Brightness())
    assert annotate(run, plan, "brightness.fake").failed == 2
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert "has changed since it was ingested" in errors[0]
    assert errors[1] is None
    assert rows[2].uri in errors[2]


def test_unreadable_image_is_skipped(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {})
    run.add_shard([ImageRow("ab", "/x.jpg", (), None, None, None, "truncated", None)])
    plan = chain(Brightness())
    outcome = annotate(run, plan, "brightness.fake")
    assert (outcome.rows, outcome.failed, outcome.skipped) == (1, 0, 1)
    assert run.read("brightness.fake", "00000", [SKIPPED])[SKIPPED] == ["ingest"]


ROW = (("scene_graph", "text"),)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((ROW,), "returned 1 rows for 3 images"),
        (((("wrong", "text"),),), "declares ['scene_graph'] but returned ['wrong']"),
        (((("scene_graph", 3.5),),), "ArrowTypeError"),
    ],
)
def test_broken_promises_are_errors_of_the_rows(
    tmp_path: Path, rows: tuple[Any, ...], message: str
) -> None:
    run = make_run(tmp_path)
    batch_size = 8 if "rows for" in message else 1
    plan = chain(Scripted(rows=rows, batch_size=batch_size))
    step = plan.step("scripted")
    with lock.hold(run.root) as token:
        annotate_shard(run, step, None, "00000", token)
    errors = run.read("scripted", "00000", [ERROR])[ERROR]
    # A stage that answers one row for a batch of three answers well for each image alone.
    assert errors == [None] * 3 if "rows for" in message else all(message in e for e in errors)


def test_a_worker_of_a_dead_driver_commits_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    plan = chain(Brightness())
    step = plan.steps[0]
    with lock.hold(run.root) as old:
        pass
    with lock.hold(run.root), pytest.raises(WorkerError, match="another driver"):
        annotate_shard(run, step, 1.0, "00000", old)
    assert run.state(step.key, "00000", step.fingerprint) == "missing"


def test_an_image_without_size_is_an_error_row(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=0)
    sized = ImageRow("1" * 32, "a.jpg", (), 8, 8, None, None, None)
    run.add_shard([ImageRow("0" * 32, "b.jpg", (), None, None, None, None, None), sized])
    outcome = annotate(run, chain(Scripted(rows=((("scene_graph", "x"),),))), "scripted")
    assert outcome.failed == 1
    assert "size of this image is unknown" in run.read("scripted", "00000", [ERROR])[ERROR][0]
    assert run.read("scripted", "00000", ["scene_graph"])["scene_graph"] == [None, "x"]


@dataclass(frozen=True, kw_only=True)
class Hungry(Brightness):
    """Fails on more than `room` images at once, as torch does; notes how many it was given."""

    room: int = 1
    raises: str = "torch"

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        rows = super().annotate(model, records)
        if len(records) <= self.room:
            return rows
        if self.raises == "torch":
            raise OutOfMemoryError("tried to allocate 2.00 GiB")
        if self.raises == "python":
            raise MemoryError
        raise RuntimeError("CUDA error: out of memory")


@dataclass(frozen=True, kw_only=True)
class Babbling(Brightness):
    """Fails with words that no file can hold."""

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        raise ValueError("the server says \ud800")


def test_words_that_can_not_be_stored_do_not_cost_the_shard(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert annotate(run, chain(Babbling()), "brightness.fake").failed == 3
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert errors == ["ValueError: the server says \ufffd"] * 3


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


def given(log: Path) -> list[int]:
    """Sizes of the batches that a stage was given."""
    return [len(line.split(" ")[1].split(",")) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("raises", ["torch", "python", "cuda"])
def test_a_batch_that_does_not_fit_into_memory_is_halved(tmp_path: Path, raises: str) -> None:
    run, log = make_run(tmp_path, images=12, shard_size=12), tmp_path / "log"
    plan = chain(Hungry(batch_size=8, room=3, raises=raises, log=str(log)))
    assert annotate(run, plan, "brightness.fake").failed == 0
    # 8 and 4 are too many; two at a time is what goes on, in the next batch too.
    assert given(log) == [8, 4, 2, 2, 2, 2, 2, 2]
    tags = run.read("brightness.fake", "00000", ["tags.fake"])["tags.fake"]
    plenty = make_run(tmp_path / "plenty", images=12, shard_size=12)
    annotate(plenty, chain(Hungry(batch_size=8, room=8)), "brightness.fake")
    assert tags == plenty.read("brightness.fake", "00000", ["tags.fake"])["tags.fake"]


def test_one_image_that_does_not_fit_fails_alone_and_for_that_reason(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    plan = chain(Hungry(batch_size=3, room=0))
    assert annotate(run, plan, "brightness.fake").failed == 3
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert errors == ["OutOfMemory: tried to allocate 2.00 GiB"] * 3


def test_a_bad_image_in_a_halved_batch_fails_alone(tmp_path: Path) -> None:
    run, log = make_run(tmp_path, images=8, shard_size=8), tmp_path / "log"
    plan = chain(Hungry(batch_size=8, room=4, poison=("0006.png",), log=str(log)))
    assert annotate(run, plan, "brightness.fake").failed == 1
    errors = run.read("brightness.fake", "00000", [ERROR])[ERROR]
    assert [error is None for error in errors] == [n != 6 for n in range(8)]
    # The poisoned batch of eight says nothing of memory: each image is taken by itself.
    assert given(log) == [8] + [1] * 8


@dataclass(frozen=True, kw_only=True)
class Writer(Stage[None]):
    """Fails for every second record and keeps what it had."""

    level: ClassVar[int] = 4
    whole: bool = False
    sizes: ClassVar[list[int]] = []

    @classmethod
    def name(cls) -> str:
        return "writer"

    @property
    def reads(self) -> Reads:
        return ()

    @property
    def writes(self) -> Writes:
        return (CONTEXT, UNUSABLE.of("writer"))

    @property
    def whole_shards(self) -> bool:
        return self.whole

    def load(self, device: str) -> None:
        return None

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row | Failed]:
        self.sizes.append(len(records))
        told = Generation("p", "Sorry, no.", "m", "refused")
        kept: Row = {UNUSABLE.of("writer"): told}
        good: Row = {CONTEXT: told, UNUSABLE.of("writer"): None}
        return [good if n % 2 else Failed("no " * 2000, kept) for n in range(len(records))]


@pytest.mark.parametrize(("whole", "sizes"), [(False, [2, 1]), (True, [3])])
def test_a_failed_record_keeps_what_it_gives_and_fails_no_other(
    tmp_path: Path, whole: bool, sizes: list[int]
) -> None:
    run = make_run(tmp_path)
    Writer.sizes.clear()
    outcome = annotate(run, chain(Writer(batch_size=2, whole=whole)), "writer")
    assert Writer.sizes == sizes
    assert (outcome.rows, outcome.failed) == (3, 2)
    found = run.read("writer", "00000", ["context", "unusable.writer", ERROR])
    assert [value is None for value in found["context"]] == [True, False, True]
    assert [value and value["answer"] for value in found["unusable.writer"]] == [
        "Sorry, no.",
        None,
        "Sorry, no.",
    ]
    assert [error and len(error) for error in found[ERROR]] == [2000, None, 2000]


def test_what_a_failed_record_keeps_has_to_be_declared(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    annotate(run, chain(Stray()), "writer")
    (error, *_) = run.read("writer", "00000", [ERROR])[ERROR]
    assert "declares ['context', 'unusable.writer'] but returned" in error


class Stray(Writer):
    """Keeps a column that it does not declare."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row | Failed]:
        return [Failed("no", {UNUSABLE.of("other"): None})] * len(records)
