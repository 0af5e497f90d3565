"""The failed images are tried again, and nothing else is computed.

Their rows are taken out of the fragments that have them, and out of all that was made from these:
what is left is partial, and the next build completes it. The values of the other images stay where
they are. Descendants go first and published rows before all: wherever this is cut off, what is left
was made from what is left.
"""

from __future__ import annotations

from grand_pipeline import fragments
from grand_pipeline.plan import Plan, Step
from grand_pipeline.store import ANNOTATIONS, ERROR, Run


def take_out_failed(run: Run, plan: Plan, key: str | None = None) -> int:
    """Take out the images that stage `key`, or any stage, failed on; returns how many.

    To be called under the run's lock.
    """
    count = 0
    for shard in run.shards():
        failed = {step.key: _failed(run, step, shard) for step in plan.steps}
        if key is not None:
            failed = {name: places for name, places in failed.items() if name == key}
        images = set().union(*failed.values())
        if images:
            count += len(images)
            run.discard(ANNOTATIONS, shard)
            _take_out(run, plan, shard, failed)
    return count


def _failed(run: Run, step: Step, shard: str) -> set[int]:
    """Places of the images with an error; what was imported can not be computed again."""
    if step.stage.given or not _is_current(run, step, shard):
        return set()
    errors = run.read(step.key, shard, [ERROR])[ERROR]
    return {place for place, error in enumerate(errors) if error is not None}


def _is_current(run: Run, step: Step, shard: str) -> bool:
    """Whether the fragment has the values wanted now, all or some of them."""
    marks = (step.fingerprint, fragments.partial_mark(step))
    return any(run.state(step.key, shard, mark) == "done" for mark in marks)


def _take_out(run: Run, plan: Plan, shard: str, failed: dict[str, set[int]]) -> None:
    out: dict[str, set[int]] = {}
    for step in plan.steps:
        places = failed.get(step.key, set()).union(*(out.get(p, ()) for p in step.parents))
        if places and _is_current(run, step, shard):
            out[step.key] = places
    for step in reversed(plan.steps):
        if step.key in out:
            fragments.take_out(run, step, shard, out[step.key], changing=out.keys())
