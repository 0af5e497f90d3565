"""A damaged run made whole: what is damaged moves aside and is computed again, nothing else.

Computing is the engine's work, as in any build: whatever file is missing, it makes. Where a new
fragment holds the same values as the lost one, what was made from it stays; where it does not
(a model that samples), those fragments move aside in turn. Image lists are no engine's work: one
is made again from the published rows of its shard and the pictures they name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from grand_pipeline import ingest, lock, publication
from grand_pipeline.columns import Annotation, ImageRow
from grand_pipeline.errors import RunError
from grand_pipeline.publish import INGEST
from grand_pipeline.storage import Place
from grand_pipeline.store import ANNOTATIONS, IMAGES, Run
from grand_pipeline.verify import ASIDE, Finding, Report, check_is_run, is_there, verify

_DESCRIPTION = "run.json"


@dataclass(frozen=True)
class Repaired:
    """What was done, and what `verify` says now."""

    moved: tuple[Finding, ...]
    """What was moved aside, or was missing and has been made again."""
    notes: tuple[str, ...]
    """What could not be had back, and how to get it."""
    now: Report


def repair(
    root: Place, compute: Callable[[], object], preset: Mapping[str, Any] | None = None
) -> Repaired:
    """Make the run at `root` whole; `compute` brings every missing fragment up to date, as `build`.

    `preset` is written into run.json where that is damaged (see `build.described`). What is moved
    lies in RUN/.damaged/<time>/ under its old path. Raises RunError, with nothing touched, when
    run.json is damaged and no preset is given, and when another process drives the run.
    """
    check_is_run(root)
    moved: list[Finding] = []
    notes: list[str] = []
    while True:
        with lock.hold(root):
            report = verify(root, held=True)
            found = [finding for finding in report.findings if finding.kind != "source"]
            # The same again: computing does not mend it, and what is left is reported.
            if set(found) <= set(moved):
                return Repaired(tuple(moved), tuple(notes), report)
            _need_description(root, found, preset)
            _move_aside(root, found)
            notes += _restore(Run(root), found, preset)
        moved += [finding for finding in found if finding not in moved]
        if any(_is_made(finding) for finding in found):
            compute()


def _is_made(finding: Finding) -> bool:
    """Whether a stage is to write the file again."""
    return finding.kind not in ("temporary", "foreign") and "/.shelf/" not in finding.path


def _need_description(
    root: Place, found: Iterable[Finding], preset: Mapping[str, Any] | None
) -> None:
    if preset is None and any(finding.path == _DESCRIPTION for finding in found):
        raise RunError(
            f"'{root}/{_DESCRIPTION}' is damaged or missing, and nothing else says which options "
            "the run was built with; put a copy of it back, or name them again with --preset and "
            "--set (fragments made with the same options stay, the others move to their shelves)"
        )


def _move_aside(root: Place, found: Iterable[Finding]) -> None:
    publication.sweep(root)
    aside = root / ASIDE / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    for path in sorted({finding.path for finding in found}):
        if is_there(root / path):
            publication.move(root / path, aside / path)


def _restore(run: Run, found: Iterable[Finding], preset: Mapping[str, Any] | None) -> list[str]:
    """Make again what no stage writes; what can not be had back is said."""
    notes: list[str] = []
    paths = sorted({finding.path for finding in found if _is_made(finding)})
    if _DESCRIPTION in paths and preset is not None:
        run.describe(preset, datetime.now(UTC).isoformat(timespec="seconds"))
        notes.append("run.json holds the preset given now; its time of creation is lost")
    for path in paths:
        if path.startswith(f"{IMAGES}/"):
            notes += _restore_list(run, PurePosixPath(path).stem)
    return notes


def _restore_list(run: Run, shard: str) -> list[str]:
    """The image list of a shard from its published rows, read again from the pictures."""
    name = f"{IMAGES}/{shard}.parquet"
    path = run.fragment(ANNOTATIONS, shard)
    if not path.exists():
        for left in run.root.glob(f"stages/*/{shard}.parquet"):
            aside = run.root / ASIDE / "without-images" / "stages" / left.parent.name
            publication.move(left, aside / left.name)
        return [
            f"{name} can not be made again, as nothing was published from it; its fragments were "
            "moved aside, and `grand build --images` adds its pictures again"
        ]
    published = list(run.published(shard))
    scanned = ingest.scan([row.uri for row in published])
    rows = [_listed(row, now) for row, now in zip(published, scanned, strict=True)]
    if any(row.bytes is not None for row in run.images()):
        rows = [ingest.with_bytes(row) if row.format is not None else row for row in rows]
    run.put_images(shard, rows)
    gone = sum(row.format is None and row.error is None for row in rows)
    notes = [f"{name}: `grand build --images` lists the copies of its pictures again"]
    if gone:
        notes.append(f"{name}: {gone} pictures have vanished or changed; their formats are unknown")
    return notes


def _listed(row: Annotation, now: ImageRow) -> ImageRow:
    """The image row behind a published one; `now` is what ingest reads from its file today."""
    if now.image_id == row.image_id:
        return now
    error = next((failed.message for failed in row.errors if failed.stage == INGEST), None)
    return ImageRow(row.image_id, row.uri, (), row.width, row.height, None, error, None)
