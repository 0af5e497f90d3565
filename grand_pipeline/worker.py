"""One (step, shard): read the declared columns, annotate in batches, commit one fragment.

Runs anywhere: it knows neither Ray nor the driver. Images are fetched and decoded in threads
while the model works; a batch that raises is taken again image by image, so that only the images
at fault become error rows. One that does not fit into memory is halved until it does.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from grand_pipeline import ahead, disk, fragments, images, inert
from grand_pipeline.columns import Column, ImageRow
from grand_pipeline.errors import AnnotationError, GrandError, ImageError
from grand_pipeline.fragments import Result
from grand_pipeline.ingest import content_id
from grand_pipeline.plan import Step
from grand_pipeline.poison import WHOLE, Turn
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Row
from grand_pipeline.store import Run

if TYPE_CHECKING:
    from PIL.Image import Image

_MESSAGE_LIMIT = 2000
_MEMORY_ERRORS = frozenset({"OutOfMemoryError", "MemoryError", "_ArrayMemoryError"})
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed")
_STARVED = "OutOfMemory: "
"""How the error of an image begins that needs more memory than its worker can have."""
_NO_SIZE = "the size of this image is unknown: it was imported without its file (see --images)"


@dataclass(frozen=True)
class Outcome:
    """What became of one (step, shard)."""

    step: str
    shard: str
    rows: int
    failed: int
    skipped: int
    seconds: float
    pending: int = 0
    """Images that are still to come: the fragment is partial."""
    worn: bool = False
    """Whether the worker holds so much memory by now that a fresh one should go on."""


class Watch(Protocol):
    """Looks after a worker's process while it has images in work (see `lastwords`)."""

    def __call__(self, images: Sequence[int], count: int) -> AbstractContextManager[None]:
        """`images` are the places of those in work, `count` is how many the time is for."""


def unwatched(images: Sequence[int], count: int) -> AbstractContextManager[None]:
    """Nobody looks after the process."""
    return nullcontext()


def annotate_shard(
    run: Run,
    step: Step,
    model: Any,
    shard: str,
    token: str,
    turn: Turn = WHOLE,
    watch: Watch = unwatched,
) -> Outcome:
    """Annotate and commit what a shard does not have yet, or the part of it that is the turn's.

    Raises WorkerError when the run has another driver by now.
    """
    begun = time.monotonic()
    rows = run.shard_images(shard)
    found = fragments.kept(run, step, shard)
    found.update({i: Result(None, error=why) for i, why in turn.given_up.items()})
    asked = range(len(rows)) if turn.only is None else turn.only
    todo = [index for index in asked if index not in found]
    found.update(_annotate(step, model, rows, _inputs(run, step, shard, len(rows)), todo, watch))
    results = [found.get(index) for index in range(len(rows))]
    fragments.commit_results(run, step, shard, rows, results, token)
    return Outcome(
        step=step.key,
        shard=shard,
        rows=len(rows),
        failed=sum(result is not None and result.error is not None for result in results),
        skipped=sum(result is not None and result.skipped is not None for result in results),
        seconds=time.monotonic() - begun,
        pending=results.count(None),
    )


def _inputs(run: Run, step: Step, shard: str, count: int) -> list[dict[str, Any]]:
    """Per image: input column -> plain value; null where the parent has none."""
    inputs: list[dict[str, Any]] = [{} for _ in range(count)]
    for parent in step.parents:
        names = [name for name, writer in step.inputs if writer == parent]
        values = run.read(parent, shard, names)
        for name in names:
            for row, value in zip(inputs, values[name], strict=True):
                row[name] = value
    return inputs


def _annotate(
    step: Step,
    model: Any,
    rows: Sequence[ImageRow],
    inputs: Sequence[Mapping[str, Any]],
    asked: Sequence[int],
    watch: Watch,
) -> dict[int, Result]:
    """Place -> result of the images asked."""
    unable = {index: _unable(step, rows[index], inputs[index]) for index in asked}
    results = {index: result for index, result in unable.items() if result is not None}
    todo = [index for index in asked if index not in results]
    size = max(1, len(todo) if step.stage.whole_shards else step.stage.batch_size)
    batches = [todo[start : start + size] for start in range(0, len(todo), size)]
    threads = int(step.stage.resources.cpus)

    def prepare(batch: Sequence[int]) -> list[Record]:
        records = [_record(rows[index], inputs[index]) for index in batch]
        return ahead.decoded(records, threads) if step.stage.needs_image else records

    # Records live for one batch only: a shard of large photographs would not fit decoded.
    with closing(ahead.prepared(prepare, batches)) as coming:
        for number, batch in enumerate(batches):
            # The one after it is being decoded meanwhile, and may be what kills the process.
            with watch([*batch, *chain(*batches[number + 1 : number + 2])], len(batch)):
                found, size = _batch(step, model, next(coming), size)
            results.update(zip(batch, found, strict=True))
    for index in [index for index in todo if len(todo) > 1 and _starved(results[index])]:
        # Once more with all the memory there is: what was decoded beside it may have taken it.
        with watch([index], 1):
            (results[index],), _ = _batch(step, model, prepare([index]), 1)
    return results


def _starved(result: Result) -> bool:
    return result.error is not None and result.error.startswith(_STARVED)


def _unable(step: Step, row: ImageRow, given: Mapping[str, Any]) -> Result | None:
    """A skipped result when the image or a needed column is not there.

    Members of a family may be missing (a vote less) as long as one is present.
    """
    if row.error is not None:
        return Result(None, skipped="ingest")
    if row.width is None or row.height is None:
        return Result(None, error=_NO_SIZE)
    writer = dict(step.inputs)
    for read in step.stage.reads:
        if isinstance(read, Column):
            names = [read.name]
        else:
            names = [name for name in given if read.owns(name)]
        if all(given[name] is None for name in names):
            return Result(None, skipped=writer[names[0]])
    return None


def _record(row: ImageRow, given: Mapping[str, Any]) -> Record:
    if row.width is None or row.height is None:
        raise AnnotationError(f"image {row.image_id} has neither size nor error in images/")
    return Record(row.image_id, row.uri, row.width, row.height, given, partial(_open, row))


def _open(row: ImageRow) -> Image:
    data = row.bytes if row.bytes is not None else images.read_bytes(row.uri)
    if content_id(data) != row.image_id:
        raise ImageError(f"'{row.uri}' has changed since it was ingested; build again to add it")
    return images.decode(data)


def _batch(
    step: Step, model: Any, records: Sequence[Record], size: int
) -> tuple[list[Result], int]:
    """Results of the records, at most `size` at a time, and the size to go on with.

    What has once been too much for the memory is not tried again: every further batch of the shard
    would have to fail first.
    """
    results: list[Result] = []
    while len(results) < len(records):
        part = records[len(results) : len(results) + size]
        together = attempt(partial(_checked, step, model, part))
        if isinstance(together, list):
            results += together
        elif len(part) > 1 and _out_of_memory(together):
            _release()
            size = (len(part) + 1) // 2
        else:
            results += _one_by_one(step, model, part) if len(part) > 1 else [_failed(together)]
    return results, size


def _one_by_one(step: Step, model: Any, records: Sequence[Record]) -> list[Result]:
    return [result for record in records for result in _batch(step, model, [record], 1)[0]]


def _failed(message: str) -> Result:
    if not _out_of_memory(message):
        return Result(None, error=message)
    _release()
    name, _, what = message.partition(": ")
    told = (what if name in _MEMORY_ERRORS else message) or "see limits.memory_gb"
    return Result(None, error=f"{_STARVED}{told}")


def _out_of_memory(message: str) -> bool:
    """Whether a failure, as `attempt` tells it, is one of memory.

    Known by its name and its words, because nothing here may load torch. Taking another failure
    for one costs time and changes no result.
    """
    name = message.partition(":")[0]
    return name in _MEMORY_ERRORS or any(words in message.lower() for words in _MEMORY_WORDS)


def _release() -> None:
    """Let go of what the failed batch left: cycles of Python, and torch's cache of GPU memory."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _checked(step: Step, model: Any, records: Sequence[Record]) -> list[Result]:
    rows = step.stage.annotate(model, records)
    if len(rows) != len(records):
        raise AnnotationError(
            f"stage '{step.key}' returned {len(rows)} rows for {len(records)} images"
        )
    return [_result(step, row) for row in rows]


def _result(step: Step, row: Row | Failed) -> Result:
    if not isinstance(row, Failed):
        return Result(encoded(step, row))
    kept = {column.name: column.encode(value) for column, value in row.kept.items()}
    values = dict.fromkeys(step.writes) | kept
    return Result(_fitting(step, values), error=inert.encodable(row.reason[:_MESSAGE_LIMIT]))


def encoded(step: Step, row: Row) -> dict[str, Any]:
    """A stage's row as plain values. Raises AnnotationError when it breaks the declaration."""
    return _fitting(step, {column.name: column.encode(value) for column, value in row.items()})


def _fitting(step: Step, written: dict[str, Any]) -> dict[str, Any]:
    if set(written) != set(step.writes):
        raise AnnotationError(
            f"stage '{step.key}' declares {sorted(step.writes)} but returned {sorted(written)}"
        )
    for column in step.stage.writes:
        # Converting here pins a value of the wrong type on its image, not on the whole shard.
        pa.array([written[column.name]], type=column.type)
    return written


def attempt(call: Callable[[], Any]) -> Any:
    """The call's value, or its failure as a text: whatever a model raises must stay one row.

    Raises OSError or DiskError where it is the machine that lacks room: no row can help that.
    """
    try:
        return call()
    except Exception as error:
        disk.refuse_shortage(error)
        name = "" if isinstance(error, GrandError) else f"{type(error).__name__}: "
        return inert.encodable(f"{name}{error}"[:_MESSAGE_LIMIT])
