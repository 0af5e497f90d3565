"""The run directory: images in immutable shards, one fragment per (stage, shard), published rows.

    RUN/run.json                        schema version, resolved preset, package version, created
    RUN/images/<shard>.parquet          one row per distinct image content
    RUN/stages/<key>/<shard>.parquet    a step's columns, keyed by image_id
    RUN/stages/<key>/.shelf/<fingerprint>/<shard>.parquet   superseded fragments, kept for reverting
    RUN/annotations/<shard>.parquet     the published rows

A fragment is done if its footer holds the wanted fingerprint and its shard's digest. Every file is
sealed with a checksum and says where it belongs; a fragment holds the digest of its content and of
what it was made from (see `verify`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from grand_pipeline import __version__, codec, lock, publication, seal
from grand_pipeline.columns import IMAGE_SCHEMA, Annotation, Column, ImageRow
from grand_pipeline.errors import RunError
from grand_pipeline.storage import Place, place

SCHEMA_VERSION = 1
IMAGES = "images"
ANNOTATIONS = "annotations"
ERROR = "_error"
"""Why this image has no values: the stage's own failure."""
SKIPPED = "_skipped"
"""Key of the step (or "ingest") whose failure left nothing to work on; "import" where a source that
was imported has nothing for this image."""

State = Literal["done", "stale", "missing"]


@dataclass(frozen=True)
class Run:
    """A run, here or in a bucket. Reading needs no lock; who writes holds one (see `lock`)."""

    root: Place

    @staticmethod
    def open(root: Place | str) -> Run:
        """An existing run. Raises RunError when there is none or its schema is another."""
        run = Run(place(root))
        try:
            version = run.info()["schema_version"]
        except FileNotFoundError:
            raise RunError(f"'{root}' is no run directory: it has no run.json") from None
        except (ValueError, KeyError, TypeError):
            raise RunError(f"'{root}/run.json' is not readable as a run's description") from None
        if version != SCHEMA_VERSION:
            raise RunError(f"'{root}' has schema {version}; this version reads {SCHEMA_VERSION}")
        return run

    @staticmethod
    def create(root: Place | str, preset: Mapping[str, Any]) -> Run:
        """Open the run at `root`, made if absent, and record `preset` as its resolved preset."""
        run = Run(place(root))
        if run._info.exists():
            created = Run.open(root).info()["created"]
        elif run.root.exists() and any(map(_is_foreign, run.root.iterdir())):
            raise RunError(f"'{root}' is not empty and no run; give --out a new or empty folder")
        else:
            created = datetime.now(UTC).isoformat(timespec="seconds")
        run.describe(preset, created)
        return run

    def describe(self, preset: Mapping[str, Any], created: str) -> None:
        """Write run.json, over what was there."""
        info = {
            "schema_version": SCHEMA_VERSION,
            "package_version": __version__,
            "created": created,
            "preset": preset,
            seal.KEY: seal.BLANK,
        }
        publication.replace(json.dumps(info, indent=2).encode(), self._info, sealed=True)

    @property
    def _info(self) -> Place:
        return self.root / "run.json"

    def info(self) -> dict[str, Any]:
        """Content of run.json."""
        found: dict[str, Any] = json.loads(self._info.read_text("utf-8"))
        return found

    # Images

    def shards(self) -> list[str]:
        """Names of all shards, in order."""
        return sorted(path.stem for path in (self.root / "images").glob("*.parquet"))

    def images_path(self, shard: str) -> Place:
        """Where the image rows of a shard are."""
        return self.root / "images" / f"{shard}.parquet"

    def shard_images(self, shard: str) -> list[ImageRow]:
        """The image rows of one shard, in their fixed order."""
        table = publication.read_table(self.images_path(shard), schema=IMAGE_SCHEMA)
        return [codec.decode(ImageRow, plain) for plain in table.to_pylist()]

    def images(self) -> Iterator[ImageRow]:
        """All image rows."""
        for shard in self.shards():
            yield from self.shard_images(shard)

    def add_shard(self, rows: Sequence[ImageRow]) -> str:
        """Commit a new shard with these images; returns its name."""
        taken = self.shards()
        shard = f"{int(taken[-1]) + 1 if taken else 0:05d}"
        self.put_images(shard, rows)
        return shard

    def put_images(self, shard: str, rows: Sequence[ImageRow]) -> None:
        """Commit the image list of a shard that has none. Raises RunError when it has."""
        table, footer = _image_table(rows, shard)
        if not publication.publish(table, self.images_path(shard), footer):
            raise RunError(f"shard {shard} of '{self.root}' appeared while it was being written")

    def relist(self, places: Mapping[str, Sequence[str]]) -> None:
        """Image id -> the uris of its content, in place of those listed; the first is published.

        The ids of a shard stay as they are, so nothing has to be annotated again.
        """
        for shard in self.shards():
            rows = self.shard_images(shard)
            if any(row.image_id in places for row in rows):
                now = [_placed(row, places.get(row.image_id, ())) for row in rows]
                publication.replace_table(*_image_table(now, shard), self.images_path(shard))

    def shard_digest(self, shard: str) -> str:
        """Digest of the shard's ordered image ids."""
        return self._listing("", shard)["digest"]

    def _listing(self, key: str, shard: str) -> dict[str, str]:
        """What a fragment has to fit: its images' ids and, where it publishes them, their uris."""
        found = publication.metadata(self.images_path(shard))
        if found is None:
            raise RunError(f"'{self.images_path(shard)}' is missing or damaged")
        names = ("digest", "uris") if key == ANNOTATIONS else ("digest",)
        # Lists that were written before uris were noted have none.
        return {name: found.get(name, "") for name in names}

    def _fits(self, key: str, shard: str, footer: Mapping[str, str]) -> bool:
        listing = self._listing(key, shard)
        return all(footer.get(name, "") == value for name, value in listing.items())

    # Fragments

    def fragment(self, key: str, shard: str) -> Place:
        """Where step `key` keeps its columns for `shard`."""
        folder = self.root / ANNOTATIONS if key == ANNOTATIONS else self.root / "stages" / key
        return folder / f"{shard}.parquet"

    def state(self, key: str, shard: str, fingerprint: str) -> State:
        """Whether the fragment is done, stale (another fingerprint or image list) or missing."""
        found = publication.metadata(self.fragment(key, shard))
        if found is None:
            return "missing"
        current = found.get("fingerprint") == fingerprint and self._fits(key, shard, found)
        return "done" if current else "stale"

    def restore(self, key: str, shard: str, fingerprint: str) -> bool:
        """Take a shelved fragment of this fingerprint back, so that reverting costs nothing."""
        shelved = self._shelf(key, shard, fingerprint)
        found = publication.metadata(shelved) or {}
        # What was shelved by a writer that was overtaken may be another's (see `clear`).
        if found.get("fingerprint") != fingerprint or not self._fits(key, shard, found):
            return False
        path = self.fragment(key, shard)
        held = publication.metadata(path) or {}
        # One of the same fingerprint for an earlier list would take the shelved one's place.
        if held.get("fingerprint") != fingerprint or self._fits(key, shard, held):
            self._shelve(key, shard)
        publication.move(shelved, path)
        return True

    def commit(
        self,
        key: str,
        shard: str,
        table: pa.Table,
        footer: Mapping[str, str],
        token: str | None = None,
        final: str | None = None,
    ) -> bool:
        """Publish a fragment; a superseded one is shelved first. False if another was faster.

        One of the fingerprint `final` (by default the footer's) that fits the shard is never
        superseded. Raises WorkerError when the run has another driver than that of `token` by now.
        """
        marks = {"step": key, "shard": shard, "content": content_digest(table)}
        marks = {**self._listing(key, shard), **footer, **marks}

        def make_room() -> bool:
            if self.state(key, shard, final or footer["fingerprint"]) == "done":
                return False
            self._shelve(key, shard)
            return True

        admitted = nullcontext if token is None else partial(lock.admitted, self.root, token)
        path = self.fragment(key, shard)
        return publication.publish(table, path, marks, admitted, make_room)

    def made(self, keys: Iterable[str], shard: str) -> dict[str, tuple[str, str]]:
        """Step -> (fingerprint, digest of the content) of its committed fragment of `shard`."""
        footers = {key: publication.metadata(self.fragment(key, shard)) or {} for key in keys}
        return {k: (f.get("fingerprint", ""), f.get("content", "")) for k, f in footers.items()}

    def discard(self, key: str, shard: str) -> None:
        """Forget a fragment, so that it is computed again."""
        publication.remove(self.fragment(key, shard))

    def read(self, key: str, shard: str, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Plain values of `columns` of a committed fragment, in shard order."""
        table = publication.read_table(self.fragment(key, shard), columns)
        return {name: table.column(name).to_pylist() for name in columns}

    def column(self, key: str, column: Column[Any]) -> Iterator[tuple[str, Any]]:
        """(image_id, decoded value) of one column over all committed shards; nulls left out."""
        for shard in self.shards():
            try:
                values = self.read(key, shard, ["image_id", column.name])
            except FileNotFoundError:
                continue
            for image_id, plain in zip(values["image_id"], values[column.name], strict=True):
                if plain is not None:
                    yield image_id, column.decode(plain)

    def annotations(self) -> Iterator[Annotation]:
        """The published rows of all committed shards."""
        for shard in self.shards():
            # Not there yet, or superseded at this moment by a driver at work.
            with suppress(FileNotFoundError):
                yield from self.published(shard)

    def published(self, shard: str) -> Iterator[Annotation]:
        """The published rows of one committed shard."""
        for plain in publication.read_table(self.fragment(ANNOTATIONS, shard)).to_pylist():
            yield codec.decode(Annotation, plain)

    def _shelf(self, key: str, shard: str, fingerprint: str) -> Place:
        return self.fragment(key, shard).parent / ".shelf" / fingerprint / f"{shard}.parquet"

    def _shelve(self, key: str, shard: str) -> None:
        path = self.fragment(key, shard)
        found = publication.metadata(path)
        mark = (found or {}).get("fingerprint", "")
        named = re.fullmatch(r"[0-9a-f]+", mark)
        publication.clear(path, self._shelf(key, shard, mark) if named else None)


def _is_foreign(path: Place) -> bool:
    """Whether a folder with this in it is somebody's, and not the beginning of a run."""
    return path.name not in lock.FILES and not path.name.startswith(publication.TEMPORARY)


def _placed(row: ImageRow, uris: Sequence[str]) -> ImageRow:
    return replace(row, uri=uris[0], duplicates=tuple(uris[1:])) if uris else row


def _image_table(rows: Sequence[ImageRow], shard: str) -> tuple[pa.Table, dict[str, str]]:
    table = pa.Table.from_pylist([codec.encode(row) for row in rows], schema=IMAGE_SCHEMA)
    marks = {
        "digest": digest_of([row.image_id for row in rows]),
        "uris": digest_of([row.uri for row in rows]),
    }
    return table, {**marks, "rows": str(len(rows)), "step": IMAGES, "shard": shard}


def digest_of(image_ids: Sequence[str]) -> str:
    """Digest of an ordered list of image ids."""
    return hashlib.sha256("\n".join(image_ids).encode()).hexdigest()[:32]


def content_digest(table: pa.Table) -> str:
    """Digest of a table's columns and values, whatever its footer and its compression say.

    Taken from Arrow's own layout, which a new major version of Arrow might lay out differently;
    what would follow is that equal content is not recognised as equal.
    """
    bare = table.replace_schema_metadata(None).combine_chunks()
    total = hashlib.sha256(bare.schema.serialize())
    for batch in bare.to_batches(max_chunksize=64):
        total.update(batch.serialize())
    return total.hexdigest()[:32]
