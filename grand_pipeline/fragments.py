"""What a step has for each image of a shard, as rows of a fragment: written, and read back.

A fragment can be partial: some of its images are still to come. It is one that no build takes for
done (its fingerprint is marked), so whoever computes the shard goes on with what is there. So
nothing that is right is computed twice: not when an image of the shard has killed its worker, and
not when only the failed images are tried again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from grand_pipeline import __version__, lock, publication
from grand_pipeline.columns import ImageRow
from grand_pipeline.errors import WorkerError
from grand_pipeline.plan import Step
from grand_pipeline.store import ERROR, SKIPPED, Run, content_digest

PENDING = "pending"
"""What `_skipped` holds for the images that a partial fragment does not have yet."""
_PARTIAL = ":partial"


@dataclass(frozen=True)
class Result:
    """One image's values, or why there are none."""

    values: Mapping[str, Any] | None
    error: str | None = None
    skipped: str | None = None


def commit_results(
    run: Run,
    step: Step,
    shard: str,
    rows: Sequence[ImageRow],
    results: Sequence[Result | None],
    token: str,
) -> None:
    """Publish the fragment of `step`, one result per image row of `shard`.

    It is partial where a result is None. Raises WorkerError when the run has another driver by now.
    """
    mark = partial_mark(step) if None in results else step.fingerprint
    marks = {"fingerprint": mark, "identity": step.identity}
    table = _table(step, rows, results)
    # A worker that was cut off for a while may come late with its part of what is whole by now.
    commit(run, step.key, shard, table, marks, token, step.parents, final=step.fingerprint)


def commit(
    run: Run,
    key: str,
    shard: str,
    table: pa.Table,
    marks: Mapping[str, str],
    token: str,
    parents: Iterable[str],
    final: str | None = None,
) -> None:
    """Publish a table of one row per image of `shard`, `marks` and provenance in its footer.

    `parents` are the steps whose fragments it was made from; one of the fingerprint `final` (by
    default that of `marks`) which is there already stays. Raises WorkerError when the run has
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
    run.commit(key, shard, table, footer, token, final)


def partial_mark(step: Step) -> str:
    """What a partial fragment of `step` holds in place of the fingerprint."""
    return f"{step.fingerprint}{_PARTIAL}"


def results(run: Run, step: Step, shard: str) -> list[Result | None]:
    """What the fragment of `step` has, in shard order; None for what is still to come.

    Raises FileNotFoundError.
    """
    found = run.read(step.key, shard, [*step.writes, ERROR, SKIPPED])
    errors, skipped = found.pop(ERROR), found.pop(SKIPPED)
    values = zip(*found.values(), strict=True)
    return [
        None if skip == PENDING else _result(step, row, error, skip)
        for row, error, skip in zip(values, errors, skipped, strict=True)
    ]


def _result(step: Step, row: Sequence[Any], error: str | None, skipped: str | None) -> Result:
    if (error or skipped) and all(value is None for value in row):
        return Result(None, error, skipped)
    return Result(dict(zip(step.writes, row, strict=True)), error, skipped)


def errors(run: Run, step: Step, shard: str) -> dict[str, str]:
    """Image id -> why `step` has no values for it; {} for a fragment that is not done."""
    if run.state(step.key, shard, step.fingerprint) != "done":
        return {}
    found = run.read(step.key, shard, ["image_id", ERROR])
    pairs = zip(found["image_id"], found[ERROR], strict=True)
    return {image_id: message for image_id, message in pairs if message is not None}


def begun(run: Run, step: Step) -> bool:
    """Whether any fragment has results of `step` with its present options."""
    footers = (publication.metadata(run.fragment(step.key, shard)) for shard in run.shards())
    marks = (step.fingerprint, partial_mark(step))
    return any(footer is not None and footer.get("fingerprint") in marks for footer in footers)


def kept(run: Run, step: Step, shard: str) -> dict[int, Result]:
    """Place -> result of the images that a partial fragment has; {} where it is of no use now.

    It is of none with other options, another list of images or other values of its parents.
    """
    footer = publication.metadata(run.fragment(step.key, shard)) or {}
    if footer.get("fingerprint") != partial_mark(step):
        return {}
    made_from = json.loads(footer.get("made_from", "{}"))
    now = run.made(made_from, shard)
    same = all([*now[key]] == [*value] for key, value in made_from.items())
    if not same or run.state(step.key, shard, partial_mark(step)) != "done":
        return {}
    return {i: found for i, found in enumerate(results(run, step, shard)) if found is not None}


def take_out(
    run: Run, step: Step, shard: str, places: Collection[int], changing: Collection[str]
) -> None:
    """Make the fragment partial: the images at `places` are to be computed again.

    `changing` are the parents whose values for them may come out differently.
    """
    path = run.fragment(step.key, shard)
    footer = publication.metadata(path) or {}
    left = [None if i in places else r for i, r in enumerate(results(run, step, shard))]
    table = _table(step, run.shard_images(shard), left)
    made_from = json.loads(footer.get("made_from", "{}"))
    marks = {
        "fingerprint": partial_mark(step),
        "made_from": json.dumps({k: v for k, v in made_from.items() if k not in changing}),
        "content": content_digest(table),
    }
    publication.replace_table(table, {**footer, **marks}, path)


def _table(step: Step, rows: Sequence[ImageRow], found: Sequence[Result | None]) -> pa.Table:
    filled = [Result(None, skipped=PENDING) if result is None else result for result in found]
    columns = {"image_id": pa.array([row.image_id for row in rows], pa.string())}
    for column in step.stage.writes:
        values = [None if r.values is None else r.values[column.name] for r in filled]
        columns[column.name] = pa.array(values, column.type)
    columns[ERROR] = pa.array([result.error for result in filled], pa.string())
    columns[SKIPPED] = pa.array([result.skipped for result in filled], pa.string())
    return pa.table(columns)
