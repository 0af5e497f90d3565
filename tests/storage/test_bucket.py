"""Objects as files: one version per look, puts that depend on one, faults that stay faults."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grand_pipeline import publication
from grand_pipeline.errors import MissingDependencyError, RunError, StorageError
from grand_pipeline.storage import Bucket, BucketPath, place
from grand_pipeline.storage.pinned import Pinned
from tests.buckets import BUCKET, configured, environment, in_memory

BIG = 1 << 20


@pytest.mark.parametrize(
    "name", ["s3://bucket/a/run", "s3://bucket//a/run/", Path("s3://bucket/a/run")]
)
def test_a_name_is_a_place_in_a_bucket(name: str | Path) -> None:
    found = place(name)
    assert isinstance(found, BucketPath)
    assert (str(found), found.name, found.parent.key) == ("s3://bucket/a/run", "run", "a")
    assert place(found) is found


def test_other_names_are_local() -> None:
    assert place("runs/s3") == Path("runs/s3")
    assert place("s3") == Path("s3")


def test_globs_and_folders() -> None:
    root = in_memory()
    for name in ("run.json", "stages/a/0.parquet", "stages/a/.shelf/f/0.parquet"):
        (root / name).overwrite(b"x")
    (root / "stages/b/1.parquet").overwrite(b"x")
    assert [p.name for p in root.iterdir()] == ["run.json", "stages"]
    assert [p.parent.name for p in root.glob("stages/*/0.parquet")] == ["a"]
    assert [p.name for p in (root / "stages").glob("*")] == ["a", "b"]
    assert [p.stem for p in (root / "stages" / "b").glob("*.parquet")] == ["1"]
    assert list(root.below()) == sorted(root.below())
    assert (root / "stages").exists() and not (root / "stages").is_file()
    assert not (root / "stage").exists()


def test_a_put_depends_on_the_version() -> None:
    path = in_memory() / "x"
    first = path.put(b"1", None)
    assert first is not None and path.put(b"2", None) is None
    assert path.put(b"2", first) is not None
    assert path.put(b"3", first) is None
    assert path.read_bytes() == b"2"
    path.delete()
    path.delete()
    assert path.put(b"4", first) is None and not path.exists()


def test_what_is_there_already_counts_as_put() -> None:
    """The answer to a put may be lost, and the request repeated."""
    path = in_memory() / "x"
    version = path.put(b"1", None)
    assert path.put(b"1", None) == version


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, BIG])
def test_every_part_of_an_object_is_read_as_it_is(size: int) -> None:
    data = bytes(n * 7 % 251 for n in range(size))
    path = in_memory() / "x"
    path.overwrite(data)

    def read(file: pa.NativeFile) -> bytes:
        assert file.size() == size
        found = b""
        for start in range(0, size, 100_000):
            file.seek(start)
            found += file.read(100_000)
        return found

    assert path.look(read) == data


def test_an_empty_object_behind_a_server(s3: str) -> None:
    path = place(f"s3://{BUCKET}/empty")
    assert isinstance(path, BucketPath)
    path.overwrite(b"")
    assert path.look(lambda file: file.read()) == b""
    assert publication.metadata(path) is None


def table(value: int) -> pa.Table:
    noise = random.Random(value)
    return pa.table(
        {"value": [value] * 9_000, "noise": [noise.randbytes(64) for _ in range(9_000)]}
    )


def test_a_look_is_of_one_version() -> None:
    path = in_memory() / "x"
    publication.replace_table(table(0), {"version": "0"}, path)
    assert len(path.read_bytes()) > 1 << 18, "more than the first request brings"
    looks: list[int] = []

    def read(file: pa.NativeFile) -> tuple[str, set[int]]:
        footer = publication.metadata(file) or {}
        if len(looks) < 2:  # Overtaken between the footer and the values.
            looks.append(1)
            publication.replace_table(table(len(looks)), {"version": str(len(looks))}, path)
        values = set(pq.read_table(file, columns=["value", "noise"])["value"].to_pylist())
        return footer["version"], values

    assert publication.look(path, read) == ("2", {2})


def test_what_is_overwritten_all_the_time_is_not_read_for_ever() -> None:
    path = in_memory() / "x"
    path.overwrite(b"0" * BIG)

    def read(file: pa.NativeFile) -> bytes:
        path.overwrite(b"1" * BIG)
        data: bytes = file.read()
        return data

    with pytest.raises(StorageError, match="faster than it can be read"):
        path.look(read)


class _Failing:
    """An obstore whose ranges fail from the second request on."""

    def __init__(self, obs: Any) -> None:
        self.exceptions, self._obs, self._asked = obs.exceptions, obs, 0

    def get(self, *given: Any, **more: Any) -> Any:
        self._asked += 1
        if self._asked > 1:
            raise self.exceptions.GenericError("the line was cut")
        return self._obs.get(*given, **more)


def test_a_failure_that_a_reader_swallows_is_remembered() -> None:
    import obstore

    path = in_memory() / "x"
    path.overwrite(b"0" * BIG)
    pinned = Pinned(_Failing(obstore), path.bucket.store(), path.key)
    with pytest.raises(obstore.exceptions.GenericError):
        pinned.read(10)
    assert isinstance(pinned.failure, obstore.exceptions.GenericError)


def unreachable() -> dict[str, str]:
    """Variables for an endpoint at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return environment(f"http://127.0.0.1:{free.getsockname()[1]}")


def test_a_store_that_does_not_answer_is_said_at_once_and_is_never_an_absent_file() -> None:
    with configured(unreachable()):
        root = BucketPath(Bucket("s3://nobody"), "run")
        begun = time.monotonic()
        with pytest.raises(RunError, match=r"s3://nobody/run.*AWS_ENDPOINT_URL"):
            root.reach()
        assert time.monotonic() - begun < 5.0


def test_a_forked_process_is_refused_instead_of_waiting_for_ever(s3: str) -> None:
    root = BucketPath(Bucket(f"s3://{BUCKET}"), "run")
    root.reach()
    assert not root.exists()
    child = os.fork()
    if child == 0:
        try:
            root.exists()
        except StorageError as error:
            os._exit(0 if "forked" in str(error) else 2)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with configured(environment("nonsense")), pytest.raises(RunError, match="AWS_ENDPOINT_URL is"):
        BucketPath(Bucket("s3://nowhere"), "run").reach()


def test_metadata_of_a_store_that_fails_is_not_that_of_an_absent_file() -> None:
    class Refusing(Bucket):
        def store(self, seconds: float = 0.0) -> Any:
            raise StorageError("no answer")

    with pytest.raises(StorageError, match="no answer"):
        publication.metadata(BucketPath(Refusing("s3://x"), "run/0.parquet"))


def test_a_bucket_that_is_not_there_is_named(s3: str) -> None:
    missing = place("s3://no-such-bucket/run")
    assert isinstance(missing, BucketPath)
    with pytest.raises(RunError, match=r"'s3://no-such-bucket/run'.*NoSuchBucket.*make the bucket"):
        missing.reach()


def test_without_the_package_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["obstore"] = sys.modules["obstore.store"] = None
from grand_pipeline.errors import MissingDependencyError
from grand_pipeline.storage import place
try:
    place("s3://bucket/run").reach()
except MissingDependencyError as error:
    sys.exit(0 if "pip install 'grand-pipeline[s3]'" in str(error) else 2)
sys.exit(1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert MissingDependencyError.exit_code == 2
