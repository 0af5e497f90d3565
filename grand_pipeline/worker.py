"""One (step, shard): read the declared columns, annotate in batches, commit one fragment.

Runs anywhere: it knows neither Ray nor the driver. Images are fetched and decoded in threads
while the model works; a batch that raises is taken again image by image, so that only the images
at fault become error rows. One that does not fit into memory is halved until it does.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from grand_pipeline import __version__, ahead, images, lock
from grand_pipeline.columns import Column, ImageRow
from grand_pipeline.errors import AnnotationError, GrandError, ImageError, WorkerError
from grand_pipeline.ingest import content_id
from grand_pipeline.plan import Step
from grand_pipeline.record import Record
from grand_pipeline.stage import Failed, Row
from grand_pipeline.store import ERROR, SKIPPED, Run

if TYPE_CHECKING:
    from PIL.Image import Image

_MESSAGE_LIMIT = 2000
_MEMORY_ERRORS = frozenset({"OutOfMemoryError", "MemoryError", "_ArrayMemoryError"})
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed")
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


@dataclass(frozen=True)
class Result:
    """One image's values, or why there are none."""

    values: Mapping[str, Any] | None
    error: str | None = None
    skipped: str | None = None


def annotate_shard(run: Run, step: Step, model: Any, shard: str, token: str) -> Outcome:
    """Annotate and commit one shard. Raises WorkerError when the run has another driver by now."""
    begun = time.monotonic()
    rows = run.shard_images(shard)
    results = _annotate(step, model, rows, _inputs(run, step, shard, len(rows)))
    commit_results(run, step, shard, rows, results, token)
    return Outcome(
        step=step.key,
        shard=shard,
        rows=len(rows),
        failed=sum(result.error is not None for result in results),
        skipped=sum(result.skipped is not None for result in results),
        seconds=time.monotonic() - begun,
    )


def commit_results(
    run: Run,
    step: Step,
    shard: str,
    rows: Sequence[ImageRow],
    results: Sequence[Result],
    token: str,
) -> None:
    """Publish the fragment of `step` with one result per image row of `shard`.

    Raises WorkerError when the run has another driver by now.
    """
    marks = {"fingerprint": step.fingerprint, "identity": step.identity}
    commit(run, step.key, shard, _table(step, rows, results), marks, token, step.parents)


def commit(
    run: Run,
    key: str,
    shard: str,
    table: pa.Table,
    marks: Mapping[str, str],
    token: str,
    parents: Iterable[str],
) -> None:
    """Publish a table of one row per image of `shard`, `marks` and provenance in its footer.

    `parents` are the steps whose fragments it was made from. Raises WorkerError when the run has
    another driver by now.
    """
    if not lock.held_by(run.root, token):
        raise WorkerError(f"run '{run.root}' has another driver; {key}/{shard} is not written")
    footer = {
        **marks,
        "digest": run.shard_digest(shard),
        "made_from": json.dumps(run.made(parents, shard)),
        "rows": str(table.num_rows),
        "attempt": token,
        "package_version": __version__,
    }
    run.commit(key, shard, table, footer)


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
    step: Step, model: Any, rows: Sequence[ImageRow], inputs: Sequence[dict[str, Any]]
) -> list[Result]:
    results = {
        index: unable
        for index, (row, given) in enumerate(zip(rows, inputs, strict=True))
        if (unable := _unable(step, row, given)) is not None
    }
    todo = [index for index in range(len(rows)) if index not in results]
    size = max(1, len(todo) if step.stage.whole_shards else step.stage.batch_size)
    batches = [todo[start : start + size] for start in range(0, len(todo), size)]
    threads = int(step.stage.resources.cpus)

    def prepare(batch: Sequence[int]) -> list[Record]:
        records = [_record(rows[index], inputs[index]) for index in batch]
        return ahead.decoded(records, threads) if step.stage.needs_image else records

    # Records live for one batch only: a shard of large photographs would not fit decoded.
    for batch, records in zip(batches, ahead.prepared(prepare, batches), strict=True):
        found, size = _batch(step, model, records, size)
        results.update(zip(batch, found, strict=True))
    return [results[index] for index in range(len(rows))]


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
    if _out_of_memory(message):
        _release()
    return Result(None, error=message)


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
    return Result(_fitting(step, values), error=row.reason[:_MESSAGE_LIMIT])


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
    """The call's value, or its failure as a text: whatever a model raises must stay one row."""
    try:
        return call()
    except GrandError as error:
        return str(error)[:_MESSAGE_LIMIT]
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:_MESSAGE_LIMIT]


def _table(step: Step, rows: Sequence[ImageRow], results: Sequence[Result]) -> pa.Table:
    columns = {"image_id": pa.array([row.image_id for row in rows], pa.string())}
    for column in step.stage.writes:
        values = [None if r.values is None else r.values[column.name] for r in results]
        columns[column.name] = pa.array(values, column.type)
    columns[ERROR] = pa.array([result.error for result in results], pa.string())
    columns[SKIPPED] = pa.array([result.skipped for result in results], pa.string())
    return pa.table(columns)
