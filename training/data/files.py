"""Files of a run, in a folder here or in a bucket: which there are, and row groups of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from grand_pipeline import images
from grand_pipeline.errors import MissingDependencyError, RunError
from grand_pipeline.store import ANNOTATIONS, Run

S = TypeVar("S")
T = TypeVar("T")

IMAGES = "images"
_THREADS = 8
_LOOKS, _PAUSE = 20, 0.05


@dataclass(frozen=True)
class Version:
    """Which of the files that come to have a shard's name, one after the other.

    A file that is superseded moves to the shelf of its fingerprint and stays what it was.
    """

    content: str
    fingerprint: str

    @staticmethod
    def of(footer: pq.FileMetaData) -> Version:
        """The version of a file; files that say nothing of their content go by the fingerprint."""
        held = footer.metadata or {}
        fingerprint = held.get(b"fingerprint", b"").decode()
        return Version(held.get(b"content", b"").decode() or fingerprint, fingerprint)


@dataclass(frozen=True)
class Folder:
    """A run as messages call it, and where its files are; shards are file names."""

    run: str
    root: str
    system: fs.FileSystem = field(repr=False)

    def shards(self) -> list[str]:
        """The published shards, in order. Raises RunError when there are none."""
        if isinstance(self.system, fs.LocalFileSystem):
            Run.open(self.root)
        where = fs.FileSelector(f"{self.root}/{ANNOTATIONS}", allow_not_found=True)
        names = [info.base_name for info in self.system.get_file_info(where) if info.is_file]
        found = sorted(name for name in names if name.endswith(".parquet"))
        if not found:
            raise RunError(
                f"run '{self.run}' has no published rows in '{self.root}/{ANNOTATIONS}': build it "
                "first, without --until"
            )
        return found

    def footers(self, kind: str, shards: Sequence[str]) -> list[pq.FileMetaData]:
        """The footers of the shards of `kind`, `annotations` or `images`. Raises RunError."""
        return in_threads(lambda shard: self._footer(f"{self.root}/{kind}/{shard}"), shards)

    def read(
        self,
        kind: str,
        shard: str,
        version: Version | None,
        groups: Sequence[int],
        columns: Sequence[str],
        rows: int,
    ) -> pa.Table:
        """Row groups of one version of a file (None: of any), which have so many rows together.

        Without threads: who reads may be the fork of a process that had some. Raises RunError when
        the version is neither there nor on its shelf.
        """
        name = f"{self.root}/{kind}/{shard}"
        shelf = f"{self.root}/{kind}/.shelf/{version.fingerprint if version else ''}/{shard}"
        why = "is another than when it was opened"
        # Looked for under its name twice: it may come back from the shelf between two looks.
        for path in (name, shelf, name, shelf) if version else (name,):
            try:
                table = self._groups(path, version, groups, columns)
            except FileNotFoundError as error:
                why = why if path == shelf else f"can not be read: {error}"
            except (OSError, pa.ArrowInvalid) as error:
                raise RunError(f"'{path}' of run '{self.run}' can not be read: {error}") from None
            else:
                if table is not None and table.num_rows == rows:
                    return table
        raise RunError(f"'{name}' of run '{self.run}' {why}")

    def _groups(
        self, path: str, version: Version | None, groups: Sequence[int], columns: Sequence[str]
    ) -> pa.Table | None:
        """The row groups of a file, opened once; None when it is another version."""
        with self.system.open_input_file(path) as file, pq.ParquetFile(file) as parquet:
            other = version and Version.of(parquet.metadata).content != version.content
            if other or max(groups) >= parquet.num_row_groups:
                return None
            return parquet.read_row_groups(groups, list(columns), use_threads=False)

    def _footer(self, path: str) -> pq.FileMetaData:
        """The footer of a file, waited for where it is being superseded at this moment."""
        for again in (True,) * _LOOKS + (False,):
            try:
                with self.system.open_input_file(path) as file:
                    return pq.read_metadata(file)
            except (OSError, pa.ArrowInvalid) as error:
                if not again or not isinstance(error, FileNotFoundError):
                    raise RunError(f"'{path}' can not be read as Parquet: {error}") from None
            time.sleep(_PAUSE)
        raise AssertionError("the last look returns or raises")


def folder_of(run: str) -> Folder:
    """The folder of a run: a local path or any fsspec URI. Raises MissingDependencyError."""
    if "://" not in run or run.startswith("file://"):
        return Folder(run, images.local_path(run).rstrip("/"), fs.LocalFileSystem())
    from fsspec.core import url_to_fs

    try:
        system, root = url_to_fs(run)
    except ImportError as error:
        raise MissingDependencyError(
            f"reading '{run}' needs a package that is not installed ({error}); "
            "for s3:// run: pip install 'grand-pipeline[s3]'"
        ) from None
    return Folder(run, str(root).rstrip("/"), fs.PyFileSystem(fs.FSSpecHandler(system)))


def in_threads(work: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """`work` done on all items, in their order: for many small files."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))
