"""A hub of models in this process: the few answers that huggingface_hub asks for, and plain files.

Like the real one it sends files by ranges; unlike it, it can be told to hang up in the middle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from threading import Thread
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".h5", ".msgpack", ".onnx", ".pth")
"""Files that are kept apart, and known by their sha256."""


def commit_of(files: Mapping[str, bytes]) -> str:
    """A commit's name: a hash of its content."""
    text = "".join(f"{path}{hashlib.sha1(data).hexdigest()}" for path, data in files.items())
    return hashlib.sha1(text.encode()).hexdigest()


@dataclass
class Hub:
    """What is on the server. Tests write here and look at `asked`."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """OWNER/NAME -> path -> content, of the branch main."""
    plain: dict[str, bytes] = field(default_factory=dict)
    """Path on the server -> content of a file outside of repositories."""
    gated: set[str] = field(default_factory=set)
    cuts: dict[str, int] = field(default_factory=dict)
    """Name of a file -> after how many bytes the next answer breaks off."""
    ranges: bool = True
    cdn: Hub | None = None
    """Where large files are really kept; askers are sent on, as the real hub does."""
    keys: list[tuple[str, str]] = field(default_factory=list)
    """(path, key) of every request that had one."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, path, range) of every request."""
    address: str = ""

    def sent(self, name: str) -> list[str]:
        """The ranges in which a file was asked for, "" for the whole."""
        return [
            span
            for method, path, span in self.asked
            if method == "GET" and PurePosixPath(path).name == name
        ]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub behind an address of this machine, as long as the context lasts."""

    class Handler(_Handler):
        content = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    content: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.content.asked.append((self.command, path, self.headers.get("Range", "")))
        if key := self.headers.get("Authorization"):
            self.content.keys.append((path, key))
        if path.lstrip("/") in self.content.plain:
            self._send_file(path, self.content.plain[path.lstrip("/")], {})
        elif path.startswith("/api/models/"):
            self._send_listing(path.removeprefix("/api/models/"))
        elif "/resolve/" in path:
            self._send_from_repository(path)
        else:
            self._send(200, b"a hub")

    def _send_listing(self, rest: str) -> None:
        parts = rest.split("/")
        name, what = "/".join(parts[:2]), parts[2:3]
        files = self.content.repositories.get(name)
        if files is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name in self.content.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif parts[3:4] and parts[3] not in ("main", commit_of(files)):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif what == ["tree"]:
            self._send_json([_entry(path, data) for path, data in files.items()])
        else:
            siblings = [_sibling(path, data) for path, data in files.items()]
            self._send_json({"id": name, "sha": commit_of(files), "siblings": siblings})

    def _send_from_repository(self, path: str) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        commit, _, file = rest.partition("/")
        files = self.content.repositories.get(name, {})
        if commit not in ("main", commit_of(files)) or file not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data, etag = files[file], f'"{_etag(file, files[file])}"'
        known = {"X-Repo-Commit": commit_of(files), "ETag": etag}
        if self.content.cdn is not None and file.endswith(LARGE):
            place = f"{self.content.cdn.address}/{file}"
            linked = {"X-Linked-Etag": etag, "X-Linked-Size": str(len(data)), "Location": place}
            self._send(302, b"", known | linked)
            return
        self._send_file(path, data, known)

    def _send_file(self, path: str, data: bytes, known: Mapping[str, str]) -> None:
        span, total = self.headers.get("Range", ""), len(data)
        status, start = 200, 0
        headers = {**known, "Accept-Ranges": "bytes"}
        if span and self.content.ranges:
            status, start = 206, int(span.removeprefix("bytes=").partition("-")[0])
            if start >= total:
                self._send(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self._send(status, data[start:], headers, PurePosixPath(path).name)

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, data: bytes, headers: Mapping[str, str] | None = None, name: str = ""
    ) -> None:
        self.send_response(status)
        for header, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.content.cuts.pop(name, None)
        self.wfile.write(data if cut is None else data[:cut])
        if cut is not None:
            self.close_connection = True


def _etag(path: str, data: bytes) -> str:
    large = path.endswith(LARGE)
    return (hashlib.sha256(data) if large else hashlib.sha1(data)).hexdigest()


def _sibling(path: str, data: bytes) -> dict[str, object]:
    size = {"rfilename": path, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
    lfs = {"sha256": _etag(path, data), "size": len(data), "pointerSize": 130}
    return size | ({"lfs": lfs} if path.endswith(LARGE) else {})


def _entry(path: str, data: bytes) -> dict[str, object]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    lfs = {"oid": _etag(path, data), "size": len(data), "pointerSize": 130}
    return entry | ({"lfs": lfs} if path.endswith(LARGE) else {})
