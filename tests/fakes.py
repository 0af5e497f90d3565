"""Hand-written stages and runs for tests of the engine: no models, tiny columns."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from grand_pipeline import lock, publication, runner
from grand_pipeline.annotations import publish_shard
from grand_pipeline.columns import CAPTIONS, SCENE_GRAPH, TAGS, Column, ImageRow
from grand_pipeline.plan import Plan
from grand_pipeline.record import Record
from grand_pipeline.schedule import Schedule
from grand_pipeline.stage import Reads, Resources, Row, Stage, Writes
from grand_pipeline.storage import Place
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.types import Tag
from grand_pipeline.worker import annotate_shard


@dataclass(frozen=True, kw_only=True)
class Brightness(Stage[float]):
    """Tags every image with its mean brightness; fails on images named in `poison`."""

    level: ClassVar[int] = 1
    source: str = "fake"
    scale: float = 1.0
    poison: tuple[str, ...] = ()
    seconds: float = 0.0
    log: str = ""

    @classmethod
    def name(cls) -> str:
        return "brightness"

    @property
    def reads(self) -> Reads:
        return ()

    @property
    def writes(self) -> Writes:
        return (TAGS.of(self.source),)

    def load(self, device: str) -> float:
        return self.scale

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        time.sleep(self.seconds)
        if self.log:
            note(self.log, self.key, [record.image_id for record in records])
        for record in records:
            if Path(record.uri).name in self.poison:
                raise ValueError(f"poisoned by {Path(record.uri).name}")
        means = [float(np.asarray(record.image).mean()) * model for record in records]
        return [{TAGS.of(self.source): (Tag("bright", mean, self.source),)} for mean in means]


@dataclass(frozen=True, kw_only=True)
class Caption(Stage[None]):
    """Says the first tag of every source."""

    level: ClassVar[int] = 2
    source: str = "fake"
    word: str = "mean"
    log: str = ""

    @classmethod
    def name(cls) -> str:
        return "caption"

    @property
    def reads(self) -> Reads:
        return (TAGS,)

    @property
    def writes(self) -> Writes:
        return (CAPTIONS.of(self.source),)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        return None

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        if self.log:
            note(self.log, self.key, [record.image_id for record in records])
        return [{CAPTIONS.of(self.source): self._say(record)} for record in records]

    def _say(self, record: Record) -> str:
        tags = record.members(TAGS)
        return ", ".join(f"{self.word} {s} {t[0].score:.2f}" for s, t in tags.items())


@dataclass(frozen=True, kw_only=True)
class Graph(Stage[None]):
    """Upper-cases the captions."""

    level: ClassVar[int] = 3

    @classmethod
    def name(cls) -> str:
        return "graph"

    @property
    def reads(self) -> Reads:
        return (CAPTIONS.of("fake"),)

    @property
    def writes(self) -> Writes:
        return (SCENE_GRAPH,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        return None

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [{SCENE_GRAPH: record[CAPTIONS.of("fake")].upper()} for record in records]


@dataclass(frozen=True, kw_only=True)
class Scripted(Stage[None]):
    """Returns whatever rows it is given: for breaking the contract on purpose."""

    level: ClassVar[int] = 1
    rows: tuple[tuple[tuple[str, Any], ...], ...] = ()

    @classmethod
    def name(cls) -> str:
        return "scripted"

    @property
    def reads(self) -> Reads:
        return ()

    @property
    def writes(self) -> Writes:
        return (SCENE_GRAPH,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        return None

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [{Column(name, str, ""): value for name, value in row} for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Deadly(Brightness):
    """Kills its process the first `deaths` times (counted in files), then works."""

    deaths: int = 1
    folder: str = ""

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        died = Path(self.folder) / "died"
        count = int(died.read_text()) if died.exists() else 0
        if count < self.deaths:
            died.write_text(str(count + 1))
            os._exit(17)
        return [{TAGS.of(self.source): (Tag("alive", 1.0, self.source),)} for _ in records]


SMALL = Resources(cpus=0.5, memory_gb=0.1)


def annotate_all(run: Run, plan: Plan) -> None:
    """What the runner does, one task after the other and without Ray."""
    with lock.hold(run.root) as token:
        publication.sweep(run.root)
        parents = {step.key: step.parents for step in plan.steps}
        parents[ANNOTATIONS] = tuple(parents)
        todo = Schedule(parents, run.shards(), runner.up_to_date(run, plan))
        while not todo.finished:
            task = todo.start(next(key for key, shards in todo.ready.items() if shards))
            if task.step == ANNOTATIONS:
                publish_shard(run, plan, task.shard, token)
            else:
                step = plan.step(task.step)
                annotate_shard(run, step, step.stage.load("cpu"), task.shard, token)
            todo.finish(task)


def note(log: str, key: str, image_ids: Sequence[str]) -> None:
    """Append one line per annotate call, atomically enough for short lines."""
    with Path(log).open("a") as file:
        file.write(f"{key} {','.join(image_ids)}\n")


def png(value: int, size: tuple[int, int] = (12, 10)) -> bytes:
    """A tiny grey PNG, distinct for every value."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (value % 256, value // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def image_row(folder: Path, index: int) -> ImageRow:
    """Write image `index` into `folder` and describe it."""
    data = png(index)
    path = folder / f"{index:04d}.png"
    path.write_bytes(data)
    image_id = hashlib.sha256(data).hexdigest()[:32]
    return ImageRow(image_id, str(path), (), 12, 10, "PNG", None, None)


def make_run(root: Path, images: int = 6, shard_size: int = 3, at: Place | None = None) -> Run:
    """A run with `images` tiny images in shards of `shard_size`, in `root` if not `at` a place."""
    pictures = root / "pictures"
    pictures.mkdir(parents=True)
    run = Run.create(at or root / "run", {"name": "fake", "description": "", "stages": {}})
    rows = [image_row(pictures, index) for index in range(images)]
    for start in range(0, images, shard_size):
        run.add_shard(rows[start : start + shard_size])
    return run


@contextmanager
def local_ray(cpus: int = 2) -> Iterator[None]:
    """A quiet Ray of this test's own, whatever other Ray runs on this machine."""
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=cpus, **quiet)
    try:
        yield
    finally:
        ray.shutdown()
