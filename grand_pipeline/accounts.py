"""What became of every input of a run: each stands under exactly one heading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from grand_pipeline.store import ANNOTATIONS, Run


def account(run: Run, failed: Collection[str], fingerprint: str) -> dict[str, int]:
    """Counts under which every file found stands once, at any moment of a run's life.

    `failed` are ids of images that a stage failed on, `fingerprint` is that of current published
    rows. annotated + failed + duplicate + unreadable + pending = found; nothing is pending when a
    run is complete. An image whose published row is of older options counts as annotated until
    its new row, or its failure, is there.
    """
    counts = Counter(dict.fromkeys(("annotated", "failed", "unreadable", "pending"), 0))
    duplicates = 0
    for shard in run.shards():
        erring = _published(run, shard)
        current = run.state(ANNOTATIONS, shard, fingerprint) == "done"
        for row in run.shard_images(shard):
            duplicates += len(row.duplicates)
            if row.error is not None:
                counts["unreadable"] += 1
            elif row.image_id in failed or (current and erring.get(row.image_id)):
                counts["failed"] += 1
            else:
                counts["annotated" if erring.get(row.image_id) is False else "pending"] += 1
    return {"found": counts.total() + duplicates, **counts, "duplicate": duplicates}


def _published(run: Run, shard: str) -> Mapping[str, bool]:
    """Image id -> whether its published row holds errors."""
    try:
        rows = run.read(ANNOTATIONS, shard, ["image_id", "errors"])
    except FileNotFoundError:  # Not there yet, or superseded just now by a driver at work.
        return {}
    return dict(zip(rows["image_id"], map(bool, rows["errors"]), strict=True))
