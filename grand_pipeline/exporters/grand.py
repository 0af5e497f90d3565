"""`grand export grand`: a run's annotations as finished GranD files, one per image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from grand_pipeline import publication
from grand_pipeline.errors import RunError, UserError
from grand_pipeline.exporters.beside import Reader
from grand_pipeline.exporters.grand_annotation import annotation_of
from grand_pipeline.publish import INGEST
from grand_pipeline.store import ANNOTATIONS, Run

_FEW = 3
_LONGEST = 200
"""Bytes of a file's name without its ending, which most file systems take."""


@dataclass(frozen=True)
class Report:
    """What became of an export; `renamed` images share their name, or have one no file can have."""

    out: str
    images: int
    unreadable: int
    with_errors: int
    renamed: int
    affordances: bool
    """Whether a stage of the run has written affordances."""

    def data(self) -> dict[str, Any]:
        """The report for programs."""
        return asdict(self)

    def text(self) -> str:
        """The report for people."""
        lines = [f"exported {self.images} images to {self.out}"]
        if self.unreadable:
            lines.append(f"  {self.unreadable} unreadable images left out")
        if self.with_errors:
            lines.append(f"  {self.with_errors} images that some stage failed on, with the rest")
        if self.renamed:
            lines.append(f"  {self.renamed} files named with the image's id: names that are shared")
        if not self.affordances:
            lines.append("  no affordances: no stage of the run writes them")
        return "\n".join(lines)


def export_annotations(run: Run, out: Path) -> Report:
    """Write every annotated image to `out`/STEM.json, shard by shard; files are whole or absent.

    Raises RunError for a run that is not annotated to the end, UserError for an `out` that holds
    something else.
    """
    shards = _annotated(run)
    names, renamed = _names(run)
    _ready(out, set(names.values()))
    reader = Reader.of(run)
    written = unreadable = with_errors = 0
    for shard in shards:
        rows = list(run.published(shard))
        for row, beside in zip(rows, reader.beside(shard, rows), strict=True):
            if any(error.stage == INGEST for error in row.errors):
                unreadable += 1
                continue
            said = {_base(row.uri): annotation_of(row, beside)}
            text = json.dumps(said, ensure_ascii=False, allow_nan=False)
            publication.replace(text.encode(), out / names[row.image_id])
            written, with_errors = written + 1, with_errors + bool(row.errors)
    return Report(str(out), written, unreadable, with_errors, renamed, reader.has_affordances)


def _annotated(run: Run) -> list[str]:
    """The shards, all of which have published rows. Raises RunError."""
    shards = run.shards()
    missing = [shard for shard in shards if not run.fragment(ANNOTATIONS, shard).exists()]
    if not shards:
        raise RunError(f"'{run.root}' has no images, so there is nothing to export")
    if missing:
        few = ", ".join(missing[:_FEW]) + ", ..." * (len(missing) > _FEW)
        raise RunError(
            f"{len(missing)} of {len(shards)} shards of '{run.root}' are not annotated ({few}); "
            f"finish the run first: grand build --out {run.root}"
        )
    return shards


def _names(run: Run) -> tuple[Mapping[str, str], int]:
    """Image id -> name of its file, and how many are not named after the image's file alone."""
    stems: dict[str, str] = {}
    for shard in run.shards():
        table = publication.read_table(run.images_path(shard), ["image_id", "uri"])
        pairs = zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True)
        stems.update({image_id: PurePath(_base(uri)).stem for image_id, uri in pairs})
    users = Counter(stems.values())
    own = {i: stem for i, stem in stems.items() if users[stem] == 1 and _usable(stem)}
    names = {i: f"{own.get(i) or _with_id(stem, i)}.json" for i, stem in stems.items()}
    return names, len(stems) - len(own)


def _with_id(stem: str, image_id: str) -> str:
    return f"{stem}-{image_id}" if _usable(stem) else image_id


def _usable(stem: str) -> bool:
    """Whether a file can be called so and is found again by an import, which skips hidden ones."""
    plain = stem.isprintable() and not stem.startswith(".")
    return bool(stem) and plain and len(stem.encode()) <= _LONGEST


def _ready(out: Path, names: Collection[str]) -> None:
    """Make the folder. Raises UserError if it holds files that this export does not write."""
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is no folder; give --out a new or empty one")
    out.mkdir(parents=True, exist_ok=True)
    publication.sweep(out)
    others = sorted(path.name for path in out.iterdir() if path.name not in names)
    if others:
        few = ", ".join(others[:_FEW]) + ", ..." * (len(others) > _FEW)
        raise UserError(
            f"'{out}' holds {len(others)} files that are not of this export ({few}); "
            "give --out a new or empty folder"
        )


def _base(uri: str) -> str:
    """The name of an image's file."""
    return uri.rstrip("/").rpartition("/")[2]
