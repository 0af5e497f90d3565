"""Objects of a bucket as files of a run: read as they were at one moment, written if unchanged.

The store's own promises are what this stands on: an object appears whole or not at all, the next
look sees it, and a put can be made to depend on the object's present version (its ETag), or on
there being none.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, TypeVar

import pyarrow as pa

from grand_pipeline.errors import RunError, StorageError
from grand_pipeline.storage.connection import BRIEF_SECONDS, SECONDS, Bucket, asking, told
from grand_pipeline.storage.pinned import Pinned, Superseded

T = TypeVar("T")

_LOOKS = 20


class Held(NamedTuple):
    """An object's bytes and which version of it they are."""

    data: bytes
    version: str


@dataclass(frozen=True, order=True)
class BucketPath:
    """A name in a bucket, with what reading a run needs of pathlib's interface."""

    bucket: Bucket
    key: str

    def __str__(self) -> str:
        return f"{self.bucket.url}/{self.key}"

    def __truediv__(self, name: str) -> BucketPath:
        return BucketPath(self.bucket, f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part of the name without its ending."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def parent(self) -> BucketPath:
        """The folder that it is in."""
        return BucketPath(self.bucket, self.key.rpartition("/")[0])

    def absolute(self) -> BucketPath:
        """Itself; a name in a bucket is always whole."""
        return self

    def resolve(self) -> BucketPath:
        """Itself; there are no links in a bucket."""
        return self

    def relative_to(self, folder: BucketPath) -> BucketPath:
        """The name as it is within a folder."""
        return BucketPath(self.bucket, self.key.removeprefix(folder.key).lstrip("/"))

    def as_posix(self) -> str:
        """The name in its bucket."""
        return self.key

    def reach(self) -> None:
        """Raises RunError, within seconds, where the bucket can not be looked into."""
        try:
            with asking(self.bucket, self, BRIEF_SECONDS) as (obs, store):
                obs.list_with_delimiter(store, self.key or None)
        except StorageError as error:
            raise RunError(str(error)) from error

    # What is there

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return self.version() is not None

    def exists(self) -> bool:
        """Whether there is an object of this name, or one in a folder of this name."""
        return self.is_file() or next(self.iterdir(), None) is not None

    def version(self) -> str | None:
        """Which version of the object is there now; None for none."""
        found = self._found()
        return None if found is None else str(found["e_tag"])

    def size(self) -> int:
        """Bytes of the object; 0 for none."""
        found = self._found()
        return 0 if found is None else int(found["size"])

    def _found(self) -> Any:
        with asking(self.bucket, self) as (obs, store):
            try:
                return obs.head(store, self.key)
            except FileNotFoundError:
                return None

    def iterdir(self) -> Iterator[BucketPath]:
        """Objects and folders in the folder of this name, in order."""
        folders, files = self._listed()
        yield from sorted([*folders, *files])

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """What fits a pattern in which `*` stands for any part of one name."""
        first, _, rest = pattern.partition("/")
        if "*" not in first:
            found = [self / first]
        else:
            folders, files = self._listed()
            fitting = folders if rest else [*folders, *files]
            found = [p for p in sorted(fitting) if fnmatch.fnmatchcase(p.name, first)]
        for one in found:
            if rest:
                yield from one.glob(rest)
            elif "*" in first or one.is_file():
                yield one

    def _listed(self) -> tuple[list[BucketPath], list[BucketPath]]:
        with asking(self.bucket, self) as (obs, store):
            found = obs.list_with_delimiter(store, self.key or None)
        names = found["common_prefixes"], [one["path"] for one in found["objects"]]
        folders, files = ([BucketPath(self.bucket, name) for name in some] for some in names)
        return folders, files

    def below(self) -> dict[str, int]:
        """Name within this folder -> bytes, of all objects in it and in its folders, in order."""
        with asking(self.bucket, self) as (obs, store):
            found = [one for part in obs.list(store, self.key or None) for one in part]
        sizes = {one["path"].removeprefix(self.key).lstrip("/"): one["size"] for one in found}
        return dict(sorted(sizes.items()))

    # Reading

    def get(self) -> Held | None:
        """The object, of one version; None where there is none."""
        with asking(self.bucket, self) as (obs, store):
            try:
                got = obs.get(store, self.key)
                return Held(bytes(got.bytes()), str(got.meta["e_tag"]))
            except FileNotFoundError:
                return None

    def read_bytes(self) -> bytes:
        """The object. Raises FileNotFoundError."""
        held = self.get()
        if held is None:
            raise FileNotFoundError(f"'{self}' is not there")
        return held.data

    def read_text(self, encoding: str = "utf-8") -> str:
        """The object as text. Raises FileNotFoundError."""
        return self.read_bytes().decode(encoding)

    def download(self, file: IO[bytes]) -> None:
        """Write the object to a local file, piece by piece. Raises FileNotFoundError."""
        with asking(self.bucket, self) as (obs, store):
            for piece in obs.get(store, self.key).stream():
                file.write(bytes(piece))

    def look(self, read: Callable[[pa.NativeFile], T]) -> T:
        """What `read` makes of the object, all of it of one version. Raises FileNotFoundError.

        Only those parts are fetched that `read` asks for; when another version takes the name
        meanwhile, it is called again.
        """
        for _ in range(_LOOKS):
            with asking(self.bucket, self) as (obs, store):
                pinned = Pinned(obs, store, self.key)
                try:
                    found = read(pa.PythonFile(pinned, mode="r"))
                except Superseded:
                    continue
                except Exception:
                    if pinned.failure is None:
                        raise
                # Readers take what can not be read for damaged or absent, and a store that does
                # not answer must not pass for that.
                if pinned.failure is None:
                    return found
                if not isinstance(pinned.failure, Superseded):
                    raise pinned.failure
        raise StorageError(f"'{self}' is overwritten faster than it can be read; try again later")

    # Writing

    def put(self, data: bytes, version: str | None, seconds: float = SECONDS) -> str | None:
        """Put the object there if its present version is `version` (None: if there is none).

        Returns the new version; None, with nothing changed, where another one is there. When an
        answer was lost and the request repeated, the object is there already, and counts as put.
        """
        with asking(self.bucket, self, seconds) as (obs, store):
            refusals = (obs.exceptions.AlreadyExistsError, obs.exceptions.PreconditionError)
            mode = "create" if version is None else {"e_tag": version}
            try:
                put = obs.put(store, self.key, data, mode=mode, use_multipart=False)
                return str(put["e_tag"])
            except refusals:
                found = self.get()
            except FileNotFoundError as error:
                raise StorageError(told(self, error)) from error
        return found.version if found is not None and found.data == data else None

    def overwrite(self, data: bytes) -> None:
        """Put the object there whatever is there."""
        with asking(self.bucket, self) as (obs, store):
            obs.put(store, self.key, data, use_multipart=False)

    def copy(self, target: BucketPath) -> None:
        """Copy the object within the store, over what is there. Raises FileNotFoundError."""
        with asking(self.bucket, self) as (obs, store):
            obs.copy(store, self.key, target.key)

    def delete(self) -> None:
        """Remove the object, if there is one."""
        with asking(self.bucket, self) as (obs, store):
            try:
                obs.delete(store, self.key)
            except FileNotFoundError:
                return
