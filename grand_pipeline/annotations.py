"""The last step of every shard: a run's columns joined into the published rows."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa

from grand_pipeline import codec, columns
from grand_pipeline.columns import ANNOTATION_SCHEMA, Column, Family, StageError
from grand_pipeline.fragments import commit
from grand_pipeline.plan import Plan
from grand_pipeline.publish import annotation_rows
from grand_pipeline.store import ANNOTATIONS, ERROR, Run
from grand_pipeline.worker import Outcome

_PUBLISHED: tuple[Column[Any] | Family[Any], ...] = (
    columns.TAGS,
    columns.LANDMARK,
    columns.FUSED,
    columns.CAPTIONS,
    columns.INSTANCES,
    columns.LINKS,
    columns.GROUNDED_CAPTIONS,
    columns.MASKS,
    columns.ATTRIBUTES,
    columns.ASSIGNED,
    columns.PLACEMENTS,
    columns.RELATIONS,
    columns.SCENE_GRAPH,
    columns.DENSE_CAPTION,
    columns.CONTEXT,
)


def publish_shard(run: Run, plan: Plan, shard: str, token: str) -> Outcome:
    """Join and commit one shard. Raises WorkerError when the run has another driver by now."""
    begun = time.monotonic()
    images = run.shard_images(shard)
    values: dict[str, list[Any]] = {}
    errors: list[list[StageError]] = [[] for _ in images]
    for step in plan.steps:
        wanted = [name for name in step.writes if _is_published(name)]
        found = run.read(step.key, shard, [*wanted, ERROR])
        values.update({name: found[name] for name in wanted})
        for messages, message in zip(errors, found[ERROR], strict=True):
            if message is not None:
                messages.append(StageError(step.key, message))
    rows = annotation_rows(images, values, errors)
    table = pa.Table.from_pylist([codec.encode(row) for row in rows], schema=ANNOTATION_SCHEMA)
    parents = [step.key for step in plan.steps]
    commit(run, ANNOTATIONS, shard, table, {"fingerprint": plan.fingerprint}, token, parents)
    return Outcome(ANNOTATIONS, shard, len(rows), 0, 0, time.monotonic() - begun)


def _is_published(name: str) -> bool:
    return any(
        column.owns(name) if isinstance(column, Family) else column.name == name
        for column in _PUBLISHED
    )
