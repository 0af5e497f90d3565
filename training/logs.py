"""What a training writes down and shows: JSON lines, TensorBoard, a line that keeps up.

`OUT/log.jsonl` holds one row per logged step: `step`, `images`, `minutes`, the terms of the loss,
`lr`, `grad_norm`, `images_per_second`, `wait` (the share of the time spent waiting for data) and on
a GPU `memory_gb` (the most that was allocated); rows of scores have names that begin with `eval_`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from grand_pipeline.errors import MissingDependencyError
from training.checkpoint import replace_text

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"
FIGURES = ("images_per_second", "wait", "memory_gb")
"""Figures of speed and memory in a row."""

Row = dict[str, Any]


def append(out: Path, row: Mapping[str, Any]) -> None:
    """Add a row to the log of a run."""
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[Row]:
    """The rows of a log; none where there is no log."""
    if not path.is_file():
        return []
    # The last line of a killed run may be cut off; a whole one ends with a brace.
    lines = path.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def cut(out: Path, step: int) -> None:
    """Drop what a killed run logged after its last checkpoint: those steps come again."""
    path = out / LOG
    if path.is_file():
        kept = [row for row in read(path) if row["step"] <= step]
        replace_text(path, "".join(f"{json.dumps(row)}\n" for row in kept))


@contextmanager
def reporting(
    out: Path, steps: int, *, tensorboard: bool = False, stream: TextIO | None = None
) -> Iterator[Callable[[Row], None]]:
    """What takes the rows of a run: each goes to the log, to TensorBoard if asked, and is shown.

    On a terminal one line is written over again, and rows of scores stay; in a pipe every row is
    a line. Raises MissingDependencyError when TensorBoard is asked for and not installed.
    """
    stream = stream or sys.stdout
    live, began = stream.isatty(), time.monotonic()
    first: list[int] = []
    writer = _writer(out) if tensorboard else None

    def report(row: Row) -> None:
        append(out, row)
        if writer:
            for name, value in row.items():
                writer.add_scalar(name, value, row["step"])
        first.append(row["step"])
        words = " ".join(f"{name} {value:.4g}" for name, value in row.items())
        if not live:
            print(words, file=stream, flush=True)
            return
        scored = any(name.startswith("eval_") for name in row)
        spent = (time.monotonic() - began) / max(row["step"] - first[0], 1)
        left = clock((steps - row["step"]) * spent) if row["step"] > first[0] else "?"
        tail = "\n" if scored else f" of {steps}, {left} left"
        stream.write(f"\r\x1b[2K{words}{tail}")
        stream.flush()

    try:
        yield report
    finally:
        if live and first:
            print(file=stream)
        if writer:
            writer.close()


def clock(seconds: float) -> str:
    """Seconds as "0:42" or "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _writer(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "logs for TensorBoard need a package that is not installed: "
            "pip install 'grand-pipeline[tensorboard]', or set loop.tensorboard=false"
        ) from error
    return SummaryWriter(str(out / TENSORBOARD))
