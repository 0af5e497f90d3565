"""Memory of the driver while many images pass through.

    python -m benchmarks.driver_memory [-n 200000] [--shard-size 256] [--out RUN] [--json]

Makes a run of synthetic images (rows without files) and sends them through three stages without
models and the join of published rows, on Ray, as `grand build` does after it has listed the images.
What is measured is the resident memory of the driver's process: whenever a tenth of all tasks is
done, and at most. Workers are processes of their own and not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from grand_pipeline import cluster, lock, memory, runner
from grand_pipeline.columns import CAPTIONS, SCENE_GRAPH, TAGS, ImageRow
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.progress import Progress
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Resources, Row, Stage, Writes
from grand_pipeline.store import Run
from grand_pipeline.types import Tag
from grand_pipeline.worker import Outcome

_MB = 2**20
_SMALL = Resources(cpus=1, memory_gb=0.2)


@dataclass(frozen=True, kw_only=True)
class _Fake(Stage[None]):
    """A stage without a model that looks at no pixels."""

    level: ClassVar[int] = 1
    batch_size: int = 256
    resources: Resources = _SMALL
    device: str = "cpu"

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class Words(_Fake):
    """Tags an image with the beginning of its id."""

    source: str = "fake"

    @classmethod
    def name(cls) -> str:
        return "words"

    @property
    def reads(self) -> Reads:
        return ()

    @property
    def writes(self) -> Writes:
        return (TAGS.of(self.source),)

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [
            {TAGS.of(self.source): (Tag(record.image_id[:8], 1.0, self.source),)}
            for record in records
        ]


@dataclass(frozen=True, kw_only=True)
class Sentence(_Fake):
    """Says the tags."""

    source: str = "fake"

    @classmethod
    def name(cls) -> str:
        return "sentence"

    @property
    def reads(self) -> Reads:
        return (TAGS,)

    @property
    def writes(self) -> Writes:
        return (CAPTIONS.of(self.source),)

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [{CAPTIONS.of(self.source): self._say(record)} for record in records]

    def _say(self, record: Record) -> str:
        return " ".join(tag.name for tags in record.members(TAGS).values() for tag in tags)


@dataclass(frozen=True, kw_only=True)
class Shout(_Fake):
    """The sentence in capitals."""

    @classmethod
    def name(cls) -> str:
        return "shout"

    @property
    def reads(self) -> Reads:
        return (CAPTIONS.of("fake"),)

    @property
    def writes(self) -> Writes:
        return (SCENE_GRAPH,)

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [{SCENE_GRAPH: record[CAPTIONS.of("fake")].upper()} for record in records]


@dataclass
class Gauge:
    """Resident memory of this process at every tenth of the tasks."""

    tasks: int
    done: int = 0
    tenths_mb: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def report(self, outcome: Outcome) -> None:
        """Count a finished task."""
        self.done += 1
        now = memory.resident() / _MB
        self.peak_mb = max(self.peak_mb, now)
        if self.done * 10 >= (len(self.tenths_mb) + 1) * self.tasks:
            self.tenths_mb.append(round(now, 1))


def rows(count: int) -> Iterator[ImageRow]:
    """Image rows without files."""
    for index in range(count):
        image_id = hashlib.sha256(str(index).encode()).hexdigest()[:32]
        yield ImageRow(image_id, f"/nowhere/{index:09d}.png", (), 640, 480, None, None, None)


def make_run(root: Path, count: int, shard_size: int) -> Run:
    """A run that lists `count` images."""
    run = Run.create(root, {"name": "fake", "description": "", "stages": {}})
    several: list[ImageRow] = []
    for row in rows(count):
        several.append(row)
        if len(several) == shard_size:
            run.add_shard(several)
            several = []
    if several:
        run.add_shard(several)
    return run


def plan() -> Plan:
    """Three stages, one after the other."""
    return make_plan([Words(), Sentence(), Shout()])


def measure(run: Run) -> Gauge:
    """Annotate the whole run on this machine."""
    gauge = Gauge(tasks=len(run.shards()) * (len(plan().steps) + 1))
    progress = Progress()

    def report(outcome: Outcome) -> None:
        gauge.report(outcome)
        progress.report(outcome)

    with lock.hold(run.root) as token, cluster.connected(None, plan()):
        runner.execute(run, plan(), runner.up_to_date(run, plan()), token, report)
    return gauge


def main() -> None:
    """Print the driver's memory at 10 % and at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", "--images", type=int, default=200_000)
    parser.add_argument("--shard-size", type=int, default=256)
    parser.add_argument("--out", type=Path, help="keep the run here")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="driver-memory-") as temporary:
        root = asked.out or Path(temporary) / "run"
        run = make_run(root, asked.images, asked.shard_size)
        begun = time.monotonic()
        gauge = measure(run)
        seconds = time.monotonic() - begun
    report = {
        "images": asked.images,
        "tasks": gauge.tasks,
        "seconds": round(seconds, 1),
        "rss_mb_at_10_percent": gauge.tenths_mb[0],
        "rss_mb_at_end": gauge.tenths_mb[-1],
        "peak_rss_mb": round(gauge.peak_mb, 1),
        "rss_mb_at_tenths": gauge.tenths_mb,
    }
    if asked.json:
        sys.stdout.write(json.dumps(report) + "\n")
        return
    for name, value in report.items():
        sys.stdout.write(f"{name:<22}{value}\n")


if __name__ == "__main__":
    main()
