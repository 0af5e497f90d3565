"""Runs in a bucket, for tests: a store in memory, and moto's S3 server in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from obstore.store import MemoryStore

from grand_pipeline.storage import Bucket, BucketPath, Place, place

BUCKET = "pictures"
_SERVE = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


def in_memory() -> BucketPath:
    """A place for a run in a store of its own, which ends with this process."""
    return BucketPath(Bucket(f"memory://{uuid.uuid4().hex}", MemoryStore()), "run")


def in_s3() -> Place:
    """A fresh place for a run in the bucket of `serving`."""
    return place(f"s3://{BUCKET}/{uuid.uuid4().hex}/run")


def environment(endpoint: str) -> dict[str, str]:
    """The variables with which a process finds a server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def serving() -> Iterator[str]:
    """A server with one empty bucket; yields its address."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            host, port = server.stdout.readline().split()
            endpoint = f"http://{host}:{port}"
            asked = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
            urllib.request.urlopen(asked).close()
            yield endpoint
        finally:
            server.stdin.close()


@contextmanager
def configured(variables: Mapping[str, str]) -> Iterator[None]:
    """This process and its children with these variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write(path: Place, data: bytes) -> None:
    """Put bytes there, past all that the product does about it."""
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    else:
        path.overwrite(data)


def delete(path: Place) -> None:
    """Have nothing there, past all that the product does about it."""
    if isinstance(path, Path):
        path.unlink()
    else:
        path.delete()


def copied(source: Path, target: Place) -> Place:
    """A copy of a local run."""
    for path in source.rglob("*"):
        if path.is_file():
            write(target / path.relative_to(source).as_posix(), path.read_bytes())
    return target


def downloaded(source: Place, target: Path) -> Path:
    """A copy of a run here."""
    if isinstance(source, Path):
        names = [p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()]
    else:
        names = list(source.below())
    for name in names:
        write(target / name, (source / name).read_bytes())
    return target
