"""What a run has come to: every input under exactly one heading, every stage shard by shard."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from grand_pipeline import images, ingest, publication, reasons
from grand_pipeline.columns import ImageRow
from grand_pipeline.plan import Plan, Step
from grand_pipeline.storage import each
from grand_pipeline.store import ANNOTATIONS, Run

HEADINGS = ("found", "annotated", "failed", "duplicate", "unreadable", "pending")


def report(run: Run, plan: Plan, failures: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """`account`, and per stage: shards done, stale (and why) or missing, images failed.

    `failures` map a step's key and an image id to the reason.
    """
    stages = {step.key: _step(run, step) for step in plan.steps}
    stages[ANNOTATIONS] = _annotations(run, plan)
    for key, counts in stages.items():
        counts["failed"] = len(failures.get(key, {}))
    failed = {image_id for found in failures.values() for image_id in found}
    return {**account(run, failed, plan.fingerprint), "stages": stages}


def account(run: Run, failed: Collection[str], fingerprint: str) -> dict[str, int]:
    """Counts under which every file found stands once, at any moment of a run's life.

    `failed` are ids of images that a stage failed on, `fingerprint` is that of current published
    rows. annotated + failed + duplicate + unreadable + pending = found; nothing is pending when a
    run is complete. An image whose published row is of older options counts as annotated until
    its new row, or its failure, is there.
    """
    counts = Counter(dict.fromkeys(("annotated", "failed", "unreadable", "pending"), 0))
    duplicates = 0
    read_since = healed(run)
    for shard in run.shards():
        erring = _published(run, shard)
        current = run.state(ANNOTATIONS, shard, fingerprint) == "done"
        for row in run.shard_images(shard):
            if row.image_id in read_since:
                continue
            duplicates += len(row.duplicates)
            if row.error is not None:
                counts["unreadable"] += 1
            elif row.image_id in failed or (current and erring.get(row.image_id)):
                counts["failed"] += 1
            else:
                counts["annotated" if erring.get(row.image_id) is False else "pending"] += 1
    return {"found": counts.total() + duplicates, **counts, "duplicate": duplicates}


def healed(run: Run) -> frozenset[str]:
    """Image ids of files that could not be read when they were first found, and have been since.

    Their rows stay, since a shard does not change; other rows stand for their contents.
    """
    erring = [shard for shard in run.shards() if _has_errors(run, shard)]
    rows = (row for shard in erring for row in run.shard_images(shard))
    unread = {row.uri: row.image_id for row in rows if ingest.is_unread(row)}
    if not unread:
        return frozenset()
    contents = (row for row in run.images() if not ingest.is_unread(row))
    listed = {uri for row in contents for uri in (row.uri, *row.duplicates) if uri in unread}
    return frozenset(unread[uri] for uri in listed)


def _has_errors(run: Run, shard: str) -> bool:
    errors = publication.read_table(run.images_path(shard), ["error"])["error"]
    return bool(errors.null_count < len(errors))


def departed(run: Run) -> Iterator[tuple[str, str]]:
    """(uri, what became of it) of pictures that are no longer where a run has them from.

    Their rows stay: an annotation is of a content, and its file may be kept elsewhere. Looked for
    are local files alone; of the others, and of files that were overwritten since the last ingest,
    `grand verify --images` knows.
    """
    listed = [(row.image_id, row.uri) for row in run.images() if _needs_file(row)]
    times = Counter(uri for _, uri in listed)
    twice = sorted(uri for uri, count in times.items() if count > 1)
    now = {row.uri: row.image_id for row in ingest.scan(twice, known={i for i, _ in listed})}
    for image_id, uri in listed:
        if _is_local(uri) and not os.path.exists(images.local_path(uri)):
            yield uri, f"is gone; the row of {image_id} stays"
        elif now.get(uri, image_id) != image_id:
            yield uri, f"is another picture now, {now[uri]}; the row of {image_id} stays"


def _step(run: Run, step: Step) -> dict[str, Any]:
    states = _states(run, step.key, step.fingerprint)
    if states["stale"]:
        marks = {(f.get("identity", ""), f.get("fingerprint")) for f in _footers(run, step.key)}
        lines = {line for old, _ in marks for line in reasons.differences(old, step.identity)}
        if any(old == step.identity and mark != step.fingerprint for old, mark in marks):
            lines.add(reasons.PARTIAL)
        states["why"] = sorted(lines) or [reasons.LISTING]
    return states


def _annotations(run: Run, plan: Plan) -> dict[str, Any]:
    states = _states(run, ANNOTATIONS, plan.fingerprint)
    if states["stale"]:
        wanted = {step.key: step.fingerprint for step in plan.steps}
        made = [json.loads(footer.get("made_from", "{}")) for footer in _footers(run, ANNOTATIONS)]
        sources = ({key: mark for key, (mark, _) in one.items()} for one in made)
        lines = {line for old in sources for line in reasons.parents_changed(old, wanted)}
        states["why"] = sorted(lines) or [reasons.PATHS]
    return states


def _states(run: Run, key: str, fingerprint: str) -> dict[str, Any]:
    states = each(run.root, lambda shard: run.state(key, shard, fingerprint), run.shards())
    counts = Counter(states)
    return {"done": counts["done"], "stale": counts["stale"], "missing": counts["missing"]}


def _footers(run: Run, key: str) -> Iterator[dict[str, str]]:
    paths = [run.fragment(key, shard) for shard in run.shards()]
    for footer in each(run.root, publication.metadata, paths):
        if footer is not None:
            yield footer


def _published(run: Run, shard: str) -> Mapping[str, bool]:
    """Image id -> whether its published row holds errors."""
    try:
        rows = run.read(ANNOTATIONS, shard, ["image_id", "errors"])
    except FileNotFoundError:  # Not there yet, or superseded just now by a driver at work.
        return {}
    return dict(zip(rows["image_id"], map(bool, rows["errors"]), strict=True))


def _needs_file(row: ImageRow) -> bool:
    """Whether stages read the picture from its file: it has one, and the run holds no copy."""
    return row.error is None and row.format is not None and row.bytes is None


def _is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")
