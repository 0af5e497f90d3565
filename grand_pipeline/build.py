"""`build`, `rerun`, `status`: a run from the outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grand_pipeline import (
    accounts,
    disk,
    fragments,
    ingest,
    lock,
    preflight,
    publication,
    retry,
    runner,
    settings,
)
from grand_pipeline.cluster import alive_nodes, connected, reached, this_machine
from grand_pipeline.columns import ImageRow
from grand_pipeline.errors import ImageError, RunError, TooManyFailedError, UserError
from grand_pipeline.plan import Plan, Step, check_fits, make_plan, without_gpus
from grand_pipeline.storage import Place, each, local
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.worker import Outcome


@dataclass(frozen=True)
class Job:
    """What `build` is asked to do."""

    out: Place
    preset: settings.Preset
    images: Sequence[str] = ()
    until: str | None = None
    shard_size: int = 256
    embed_images: bool = False
    address: str | None = None
    max_failed: int | None = None


@dataclass(frozen=True)
class Watcher:
    """What the caller wants to hear: phases, the work list (step -> shards to do), outcomes."""

    phase: Callable[[str], None]
    begin: Callable[[dict[str, int]], None]
    report: Callable[[Outcome], None]


def build(job: Job, watch: Watcher) -> Run:
    """Ingest new images and bring every stage of the preset up to date.

    Raises UserError for a plan, input or model that can not work, before any work is done;
    DiskError for what a disk can not do; TooManyFailedError when more images failed than
    `max_failed`.
    """
    job = replace(job, preset=with_imported(job.preset, job.out))
    checked_plan(job)
    if job.images:
        # A mistyped folder leaves no run behind.
        next(ingest.discover(job.images, skip=local(job.out)))
    job = _with_models(job, watch)
    plan = resolved_plan(job.preset, job.until)
    with disk.guarded(job.out), lock.hold(job.out) as token:
        run = Run.create(job.out, described(job.preset, job.until))
        publication.sweep(run.root)
        if job.images:
            watch.phase("ingest")
            silent = add_images(run, job.images, job.shard_size, job.embed_images, _given(plan))
            if silent:
                watch.phase(
                    f"{len(silent)} files that the run knows can not be read now ({silent[0].error}"
                    "); it keeps what it has of them"
                )
        if not run.shards():
            raise UserError(f"nothing to annotate in {', '.join(job.images) or job.out}")
        _execute(run, plan, token, job.address, watch)
    check_failed(run, plan, job.max_failed)
    return run


def rerun(run: Run, key: str, job: Job, watch: Watcher) -> Run:
    """Compute stage `key` and its descendants again, with `job.preset`.

    Raises UserError for a plan that can not work and for a stage that was imported, before
    anything is discarded.
    """
    plan = checked_plan(job)
    _refuse_imported(run, plan.step(key))
    again = [*plan.descendants(key), ANNOTATIONS]
    job = _with_models(job, watch)
    with disk.guarded(run.root), lock.hold(run.root):
        # Descendants first: wherever this is cut off, what is left was made from what is left.
        for step in reversed(again):
            for shard in run.shards():
                run.discard(step, shard)
    return build(replace(job, out=run.root, images=()), watch)


def rerun_failed(run: Run, key: str | None, job: Job, watch: Watcher) -> Run:
    """Try the images again that stage `key`, or any stage, failed on, and nothing else.

    Raises UserError for options that would change what the other images have, and for a stage that
    was imported, before anything is touched.
    """
    plan = checked_plan(job)
    if key is not None:
        _refuse_imported(run, plan.step(key))
    if plan.fingerprint != resolved_plan(*recorded_preset(run)).fingerprint:
        raise UserError(
            "with --failed only options can be set that do not change what is written, such as "
            "STAGE.limits.image_seconds; for others use `grand rerun STAGE` without --failed"
        )
    job = _with_models(job, watch)
    with disk.guarded(run.root), lock.hold(run.root):
        count = retry.take_out_failed(run, plan, key)
    watch.phase(f"{count} failed images are tried again")
    return build(replace(job, out=run.root, images=()), watch)


def _refuse_imported(run: Run, step: Step) -> None:
    if step.stage.given:
        raise UserError(
            f"'{step.key}' was imported into '{run.root}', and nothing here can compute it; run "
            "`grand import` again with the predictions"
        )


def resolved_plan(preset: settings.Preset, until: str | None = None) -> Plan:
    """The plan of a preset, cut at `until`."""
    return make_plan(settings.stages(preset), until)


def holds_imports(out: Place) -> bool:
    """Whether there is a run at `out` with columns that `grand import` put there."""
    return bool(_imported(out))


def with_imported(preset: settings.Preset, out: Place) -> settings.Preset:
    """The preset with the tables of what `grand import` put into the run at `out`, if any."""
    return replace(preset, tables={**_imported(out), **preset.tables})


def _imported(out: Place) -> settings.Tables:
    if not (out / "run.json").exists():
        return {}
    recorded: settings.Tables = Run.open(out).info()["preset"].get("stages", {})
    return {key: table for key, table in recorded.items() if key.startswith("imported.")}


def checked_plan(job: Job) -> Plan:
    """The job's plan, before anything is looked at or written.

    Raises RunError where no run can be, and, where this machine is to do the work, PlanError when
    it is too small and MissingDependencyError when an extra is missing; UserError where nobody
    answers at the cluster's address. A cluster's size is known, and checked, when Ray has been
    joined; what is installed there is for it to say.
    """
    preflight.check_place(job.out, job.images)
    plan = resolved_plan(job.preset, job.until)
    if job.address is None:
        here = [this_machine()]
        check_fits(without_gpus(plan, here), here)
        preflight.check_extras([step.stage for step in plan.steps])
    else:
        reached(job.address)
    return plan


def _with_models(job: Job, watch: Watcher) -> Job:
    """The job with its models here and pinned. Raises MissingDependencyError."""
    alone = job.address is None
    return replace(job, preset=preflight.ready(job.preset, job.until, watch.phase, alone=alone))


def recorded_preset(run: Run) -> tuple[settings.Preset, str | None]:
    """The preset that a run was last built with, and its `until`.

    Raises RunError for a run that no `build` made, such as the truth of rendered scenes.
    """
    info: dict[str, Any] = run.info()["preset"]
    if "stages" not in info:
        raise RunError(f"'{run.root}' ({info.get('name')}) was not made by grand build")
    preset = settings.Preset(info["name"], info["description"], info["stages"])
    return preset, info.get("until")


def status(run: Run) -> dict[str, Any]:
    """What became of the images and of the stages (see `accounts`)."""
    plan = resolved_plan(*recorded_preset(run))
    return accounts.report(run, plan, failed_images(run, plan))


def failed_images(run: Run, plan: Plan) -> dict[str, dict[str, str]]:
    """Step key -> image_id -> reason, over the committed fragments."""
    failures: dict[str, dict[str, str]] = {}
    tasks = [(step, shard) for step in plan.steps for shard in run.shards()]
    found = each(run.root, lambda task: fragments.errors(run, *task), tasks)
    for (step, _), failed in zip(tasks, found, strict=True):
        failures.setdefault(step.key, {}).update(failed)
    return failures


def described(preset: settings.Preset, until: str | None) -> dict[str, Any]:
    """The preset as run.json records it."""
    return {
        "name": preset.name,
        "description": preset.description,
        "stages": preset.tables,
        "until": until,
    }


def add_images(
    run: Run,
    images: Sequence[str],
    shard_size: int,
    embed: bool = False,
    given: Sequence[str] = (),
) -> list[ImageRow]:
    """Put the images that the run does not have yet into new shards; `embed` their bytes.

    Returns the rows of those that it has, and whose files can not be read now. Raises UserError for
    new images when the steps `given` were imported: nobody could annotate them.
    """
    listed = {row.image_id: (row.uri, *row.duplicates) for row in run.images()}
    found = ingest.ingest(ingest.discover(images, skip=local(run.root)), known=listed)
    unread = {row.uri: row for row in found.rows if ingest.is_unread(row)}
    silent = {uri: unread[uri] for uris in listed.values() for uri in uris if uri in unread}
    fresh = [row for row in found.rows if row.uri not in silent]
    if fresh and given:
        raise UserError(
            f"{len(fresh)} images are not in '{run.root}' (first: {fresh[0].uri}), and "
            f"its {_some(given)} can only be imported: add them with `grand import ... --images`, "
            "together with their predictions"
        )
    if moved := ingest.moved(listed, found.seen):
        run.relist(moved)
    for start in range(0, len(fresh), shard_size):
        rows = fresh[start : start + shard_size]
        run.add_shard([_embedded(row) for row in rows] if embed else rows)
    return list(silent.values())


def _embedded(row: ImageRow) -> ImageRow:
    """The row with its file's bytes; a file that changed or vanished meanwhile waits for the next
    build, which finds it anew."""
    try:
        return ingest.with_bytes(row)
    except ImageError as error:
        return ingest.unread(row.uri, error)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _given(plan: Plan) -> list[str]:
    return [step.key for step in plan.steps if step.stage.given]


def _execute(run: Run, plan: Plan, token: str, address: str | None, watch: Watcher) -> None:
    done = runner.up_to_date(run, plan)
    finished = Counter(task.step for task in done)
    shards = len(run.shards())
    lacking = [key for key in _given(plan) if finished[key] < shards]
    if lacking:
        raise UserError(
            f"{_some(lacking)} of '{run.root}' can only be imported, and is missing or of "
            "another import for some images; run `grand import` again with all predictions"
        )
    keys = [*(step.key for step in plan.steps), ANNOTATIONS]
    todo = {key: shards - finished[key] for key in keys if finished[key] < shards}
    if not todo:
        return
    watch.phase("annotate")
    watch.begin(todo)
    with connected(address, plan):
        fitted = without_gpus(plan, alive_nodes().values())
        if fitted != plan:
            watch.phase("annotate (no GPU here: on CPUs)")
        runner.execute(run, fitted, done, token, watch.report, watch.phase)


def check_failed(run: Run, plan: Plan, allowed: int | None) -> None:
    """Raises TooManyFailedError when more images failed than `allowed`; None allows none."""
    failures = failed_images(run, plan)
    count = len({image for failed in failures.values() for image in failed})
    if count > (allowed or 0):
        worst = ", ".join(f"{key}: {len(images)}" for key, images in failures.items() if images)
        raise TooManyFailedError(
            f"{count} images failed ({worst}); `grand status {run.root}` says why. Everything "
            "else is annotated; --max-failed allows more."
        )
