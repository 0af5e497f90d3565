"""A remote file system of our own, whose files delay, fail, change, or vanish once listed."""

from __future__ import annotations

import io
from collections.abc import Callable
from threading import Event
from typing import Any, BinaryIO, ClassVar

import fsspec

FILES = tuple(f"{index}.png" for index in range(6))
BAD = "1.png"

Trouble = Callable[[bytes], bytes]
"""What reading makes of a file's content: it may take its time, raise, or alter it."""


class TroubledFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """trouble://NAME, one flat folder in this process. `files` are listed, `troubles` strike."""

    protocol = "trouble"
    cachable = False
    files: ClassVar[dict[str, bytes]] = {}
    troubles: ClassVar[dict[str, Trouble]] = {}
    gone: ClassVar[list[Exception]] = []
    """What every call raises, when there is one."""

    def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        self._answer()
        found = [{"name": n, "size": len(d), "type": "file"} for n, d in sorted(self.files.items())]
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        self._answer()
        name = self._strip_protocol(path)
        if name in self.files:
            return {"name": name, "size": len(self.files[name]), "type": "file"}
        return {"name": name, "size": 0, "type": "directory"}

    def _open(self, path: str, mode: str = "rb", **more: Any) -> BinaryIO:
        self._answer()
        data = self.files[path]
        trouble = self.troubles.get(path)
        return io.BytesIO(data if trouble is None else trouble(data))

    def _answer(self) -> None:
        if self.gone:
            raise self.gone[0]


def raising(error: Exception) -> Trouble:
    """Reading fails like this."""

    def fail(data: bytes) -> bytes:
        raise error

    return fail


def silent(until: Event) -> Trouble:
    """Reading does not come back before `until`."""

    def wait(data: bytes) -> bytes:
        until.wait(60)
        return data

    return wait


fsspec.register_implementation("trouble", TroubledFiles, clobber=True)
