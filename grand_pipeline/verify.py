"""Is a run what was written? Every file is looked at once, and what is wrong is a finding.

Bytes are checked before anything parses them, so that a damaged file can not mislead or crash a
reader. What a whole file says of itself (step, shard, image ids, what it was made from) is then
held against its place and its neighbours. Nothing is written, and no lock is taken.

What can not be found: that the last file of a chain has vanished (no published row says that it
was ever there); `grand status` counts it as missing, and a build makes it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from grand_pipeline import ingest, lock, publication, seal
from grand_pipeline.errors import RunError
from grand_pipeline.storage import BucketPath, Place
from grand_pipeline.storage.lease import COMMITS
from grand_pipeline.store import ANNOTATIONS, IMAGES, Run, digest_of

ASIDE = ".damaged"
"""The folder of a run into which `repair` moves what it replaces."""

Kind = Literal[
    "damaged", "misplaced", "ids", "lineage", "missing", "temporary", "foreign", "source"
]

REMEDIES: Mapping[Kind, str] = {
    "damaged": "move aside, make again",
    "misplaced": "move aside, make again what belongs here",
    "ids": "move aside, make again",
    "lineage": "move aside, make again",
    "missing": "make again",
    "temporary": "delete",
    "foreign": "move aside",
    "source": "none: `grand build --images` adds what is there now",
}
"""What `repair` does about each kind of finding."""

_PATH = re.compile(
    r"(images|annotations|stages/(?P<key>[^/]+))(/\.shelf/(?P<shelf>[0-9a-f]+))?"
    r"/(?P<shard>\d{5,})\.parquet"
)
_NEVER_READ_AGAIN = (ASIDE, "show")
"""Folders of a run that hold nothing that is read again."""

Footer = Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    path: str
    """Relative to the run; of a `source`, the uri."""
    kind: Kind
    detail: str

    @property
    def remedy(self) -> str:
        """What `repair` does about it."""
        return REMEDIES[self.kind]


@dataclass(frozen=True)
class Report:
    """What `verify` found."""

    findings: tuple[Finding, ...]
    files: int
    bytes: int
    seconds: float
    busy: bool
    """A driver was at work, so files that come and go were not held against it."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def json(self) -> dict[str, Any]:
        """The report as flat values."""
        return {
            "whole": self.whole,
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "mb_per_second": round(self.bytes / 1e6 / max(self.seconds, 1e-9), 1),
            "busy": self.busy,
            "findings": [
                {"path": f.path, "kind": f.kind, "detail": f.detail, "remedy": f.remedy}
                for f in self.findings
            ],
        }


@dataclass(frozen=True)
class _Place:
    """Where a Parquet file of a run stands: `key` is a step, "images" or "annotations"."""

    key: str
    shard: str
    shelf: str | None = None

    @property
    def path(self) -> str:
        folder = self.key if self.key in (IMAGES, ANNOTATIONS) else f"stages/{self.key}"
        return f"{folder}/{f'.shelf/{self.shelf}/' if self.shelf else ''}{self.shard}.parquet"


def verify(root: Place, *, sources: bool = False, held: bool = False) -> Report:
    """Look at every file of the run at `root`; with `sources`, read its pictures again too.

    `held` says that the caller is the run's driver. Raises RunError when `root` has neither a
    run.json nor images.
    """
    begun = time.monotonic()
    check_is_run(root)
    busy = not held and lock.busy(root)
    there = _files(root)
    places, findings = _sorted_out(there, busy)
    sizes = [there.get(name, 0) for name in places]
    whole: dict[_Place, Footer] = {}
    for name, found in _examined(root, places, busy):
        place = places[name]
        if isinstance(found, Finding):
            findings.append(found)
        elif place is not None:
            whole[place] = found
    findings += _against_lists(whole)
    if not busy:
        findings += _missing_lists(root, whole)
        findings += _against_parents(root, whole)
    if sources:
        findings += _sources(Run(root), whole)
    ordered = sorted(dict.fromkeys(findings), key=lambda f: (f.path, f.kind, f.detail))
    return Report(tuple(ordered), len(sizes), sum(sizes), time.monotonic() - begun, busy)


def check_is_run(root: Place) -> None:
    """Raises RunError when `root` has neither a run.json nor images."""
    if not (root / "run.json").exists() and not (root / IMAGES).exists():
        raise RunError(f"'{root}' is no run directory: it has no run.json")


def _sorted_out(names: Iterable[str], busy: bool) -> tuple[dict[str, _Place | None], list[Finding]]:
    """Relative path -> place (None: run.json) of what belongs there; findings for the rest."""
    places: dict[str, _Place | None] = {"run.json": None}
    findings: list[Finding] = []
    for name in names:
        place = _PATH.fullmatch(name)
        path = PurePosixPath(name)
        if path.name.startswith(publication.TEMPORARY) or path.parts[0] == COMMITS:
            if not busy:
                findings.append(Finding(name, "temporary", "left by a writer that was stopped"))
        elif place and not (name.startswith(IMAGES) and place["shelf"]):
            key = place["key"] or place[1].partition("/")[0]
            places[name] = _Place(key, place["shard"], place["shelf"])
        elif name not in ("run.json", *lock.FILES):
            findings.append(Finding(name, "foreign", "nothing that grand writes has this name"))
    return places, findings


def _files(root: Place) -> dict[str, int]:
    """Relative path -> bytes of every file, but those that nobody reads again."""
    if isinstance(root, BucketPath):
        below = root.below().items()
        return {n: size for n, size in below if n.partition("/")[0] not in _NEVER_READ_AGAIN}
    found: dict[str, int] = {}
    for folder, inner, names in os.walk(root):
        if Path(folder) == root:
            inner[:] = [name for name in inner if name not in _NEVER_READ_AGAIN]
        inner.sort()
        for path in (Path(folder) / name for name in sorted(names)):
            found[path.relative_to(root).as_posix()] = _size(path)
    return found


def _size(path: Path) -> int:
    """Bytes to read; 0 for what is not there (any more)."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_there(path: Place) -> bool:
    """Whether anything has this name, and be it a link to nothing."""
    return os.path.lexists(path) if isinstance(path, Path) else path.is_file()


def _examined(
    root: Place, places: Mapping[str, _Place | None], busy: bool
) -> Iterator[tuple[str, Finding | Footer]]:
    """Each file's footer, or what is wrong with the file by itself."""
    with ThreadPoolExecutor(thread_name_prefix="verify") as pool:
        running = [(n, pool.submit(_examine, root, n, place)) for n, place in places.items()]
        for name, task in running:
            found = task.result()
            # A driver may have superseded the file between listing and opening.
            if not (busy and isinstance(found, Finding) and not (root / name).exists()):
                yield name, found


def _examine(root: Place, name: str, place: _Place | None) -> Finding | Footer:
    path = root / name
    if not is_there(path):
        return Finding(name, "missing", "a run has this file")
    if not path.is_file():
        return Finding(name, "damaged", "no regular file")
    try:
        return publication.look(path, partial(_looked_at, name, place))
    except OSError as error:
        return Finding(name, "damaged", f"can not be read: {error.strerror or error}")


def _looked_at(name: str, place: _Place | None, file: pa.NativeFile) -> Finding | Footer:
    """The footer of a sealed file, when it is about the file's place and the file's rows."""
    broken = seal.fault(file)
    if broken is not None:
        return Finding(name, "damaged", broken)
    if place is None:
        return {}
    footer = publication.metadata(file) or {}
    claimed = (footer.get("step"), footer.get("shard"))
    if claimed != (place.key, place.shard):
        return Finding(name, "misplaced", f"is {claimed[0]}/{claimed[1]}, by its footer")
    if place.shelf not in (None, footer.get("fingerprint")):
        return Finding(name, "misplaced", f"has fingerprint {footer.get('fingerprint')}")
    ids = pq.read_table(file, columns=["image_id"], use_threads=False)["image_id"].to_pylist()
    if digest_of(ids) != footer.get("digest"):
        return Finding(name, "ids", "its image ids are not those that its footer promises")
    return footer


def _against_lists(whole: Mapping[_Place, Footer]) -> Iterator[Finding]:
    """Fragments whose rows are not the images of their shard."""
    lists = {place.shard: footer["digest"] for place, footer in whole.items() if _is_list(place)}
    for place, footer in whole.items():
        if lists.get(place.shard, footer["digest"]) != footer["digest"]:
            detail = f"its image ids are not those of images/{place.shard}.parquet"
            yield Finding(place.path, "ids", detail)


def _missing_lists(root: Place, whole: Mapping[_Place, Footer]) -> Iterator[Finding]:
    for shard in {place.shard for place in whole}:
        name = _Place(IMAGES, shard).path
        if not is_there(root / name):
            yield Finding(name, "missing", "there are fragments of these images")


def _against_parents(root: Place, whole: Mapping[_Place, Footer]) -> Iterator[Finding]:
    """Fragments that were made from other values than those that are there now.

    A parent of another fingerprint is no damage: the fragment is stale, and a build sees to it.
    """
    for place, footer in whole.items():
        made_from: dict[str, list[str]] = json.loads(footer.get("made_from", "{}"))
        for key, (fingerprint, content) in made_from.items() if not place.shelf else ():
            wanted = _Place(key, place.shard)
            parent = whole.get(wanted, {})
            if parent.get("fingerprint") == fingerprint and parent.get("content") != content:
                detail = f"was made from other values than {wanted.path} has"
                yield Finding(place.path, "lineage", detail)
            shelved = _Place(key, place.shard, fingerprint) in whole
            if not shelved and not is_there(root / wanted.path):
                yield Finding(wanted.path, "missing", "other files were made from it")


def _sources(run: Run, whole: Mapping[_Place, Footer]) -> Iterator[Finding]:
    """Pictures that are no longer what was ingested; those imported by name have no file."""
    rows = [row for place in whole if _is_list(place) for row in run.shard_images(place.shard)]
    files = [row for row in rows if row.format is not None or row.error is not None]
    wanted = {uri: row.image_id for row in files for uri in (row.uri, *row.duplicates)}
    for now in ingest.scan(wanted, known=set(wanted.values())):
        if now.image_id != wanted[now.uri]:
            yield Finding(now.uri, "source", now.error or "has changed since it was ingested")


def _is_list(place: _Place) -> bool:
    return place.key == IMAGES
