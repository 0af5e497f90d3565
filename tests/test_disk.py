"""A disk that is full, closed or gone is said in one sentence and is never an image's fault."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from grand_pipeline import disk, lock, publication
from grand_pipeline.actor import StageActor
from grand_pipeline.errors import DiskError, ImageError
from grand_pipeline.plan import make_plan
from grand_pipeline.record import Record
from grand_pipeline.stage import Row
from grand_pipeline.worker import annotate_shard
from tests.fakes import Brightness, annotate_all, make_run, png

AGAIN = "run the same command again"


def full(name: str | None = None) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


def test_a_full_disk_is_told_with_place_and_room(tmp_path: Path) -> None:
    missing = tmp_path / "run" / "stages"
    text = disk.told(full(str(missing)))
    assert text.startswith(f"No space left on device at '{missing}' (")
    assert "MB are free there); free some, and " + AGAIN in text
    assert disk.told(full()) == f"No space left on device; free some, and {AGAIN}"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EROFS, "make it writable"),
        (errno.EACCES, "make it writable"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "is there and well"),
        (errno.ESTALE, "is there and well"),
    ],
)
def test_every_fault_has_its_remedy(code: int, words: str) -> None:
    with pytest.raises(DiskError, match="at 'RUN'") as caught, disk.guarded("RUN"):
        raise OSError(code, os.strerror(code))
    assert words in str(caught.value)
    assert AGAIN in str(caught.value) and "what is complete is kept" in str(caught.value)


def test_other_errors_pass() -> None:
    for error in (ConnectionError("refused"), OSError("no number"), ValueError("a bug")):
        with pytest.raises(type(error), match=str(error)), disk.guarded("RUN"):
            raise error


def chained(first: Exception, last: Exception) -> Exception:
    try:
        raise last from first
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "error",
    [full(), chained(full(), RuntimeError("x")), chained(DiskError("full"), ImageError("x"))],
    ids=["itself", "its cause", "told before"],
)
def test_a_shortage_is_found_wherever_it_came_from(error: Exception) -> None:
    with pytest.raises((OSError, DiskError)):
        disk.refuse_shortage(error)


def test_what_can_be_a_files_own_fault_is_no_shortage() -> None:
    for code in (errno.EIO, errno.ENOENT, errno.EACCES):
        disk.refuse_shortage(chained(OSError(code, "x"), RuntimeError("x")))


@dataclass(frozen=True, kw_only=True)
class Writing(Brightness):
    """Would write a file for every picture."""

    wrapped: bool = False

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        raise chained(full(), RuntimeError("could not write")) if self.wrapped else full()


@pytest.mark.parametrize("wrapped", [False, True])
def test_no_image_fails_because_a_stage_finds_no_room(tmp_path: Path, wrapped: bool) -> None:
    run = make_run(tmp_path, images=3)
    (step,) = make_plan([Writing(wrapped=wrapped)]).steps
    with lock.hold(run.root) as token, pytest.raises(OSError, match="No space"):
        annotate_shard(run, step, 1.0, "00000", token)
    assert run.state(step.key, "00000", step.fingerprint) == "missing"


def test_a_worker_without_room_for_its_notes_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=3)
    (step,) = make_plan([Brightness()]).steps
    actor = StageActor(str(run.root), "token", str(tmp_path / "absent" / "words"))
    with pytest.raises(DiskError, match=r"absent/words.*run the same command again"):
        actor.annotate(step, "00000")


def command(code: str, *arguments: object, out: int = subprocess.PIPE) -> tuple[int, str]:
    """Exit code and messages of `grand` after `code`, in a process of its own."""
    text = f"import resource, sys; {code}; from grand_pipeline import cli; cli.main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


def test_a_build_that_can_write_nothing_says_why_and_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(png(0))
    order = ("build", "--images", tmp_path / "pictures", "--out", tmp_path / "run")
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    code, said = command(limit, *order, "--preset", "picturebook", "--until", "tags.siglip")
    assert code == 1
    assert said.splitlines()[-1].startswith("grand: File too large at '")
    assert "ulimit -f" in said and AGAIN in said
    assert "Traceback" not in said
    assert not list((tmp_path / "run").rglob(f"{publication.TEMPORARY}*"))


def test_an_answer_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=1)
    with Path("/dev/full").open("w") as nowhere:
        code, said = command("pass", "stats", run.root, out=nowhere.fileno())
    assert (code, said) == (1, f"grand: No space left on device; free some, and {AGAIN}\n")


def test_a_fragment_that_can_not_be_opened_now_is_not_taken_for_a_missing_one(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path, images=3)
    annotate_all(run, make_plan([Brightness()]))
    (step,) = make_plan([Brightness()]).steps
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with os.fdopen(os.dup(0)) as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                run.state(step.key, "00000", step.fingerprint)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert run.state(step.key, "00000", step.fingerprint) == "done"


def test_what_a_library_quotes_is_understood(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    told = pytest.raises(DiskError, match=rf"File too large at '{place}'")
    with limited_files(0), told, disk.guarded(place):
        save_file({"weights": np.zeros(9)}, place)


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
