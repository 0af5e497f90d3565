"""Images on file systems that are slow, fail, change or go away: what becomes of rows and runs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from grand_pipeline import accounts, build, lock, retry
from grand_pipeline.errors import TooManyFailedError, UserError
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.publication import read_table
from grand_pipeline.store import ERROR, Run, content_digest
from tests.fakes import Brightness, Caption, annotate_all, png
from tests.remote.troubled import BAD, FILES, Trouble, TroubledFiles, raising

PLAN = make_plan([Brightness(), Caption()])


def fresh(root: Path) -> Run:
    return Run.create(root, {"name": "fake", "description": "", "stages": {}})


def take_in(run: Run, embed: bool = False) -> list[str]:
    """What a build brings in; uris of known files that could not be read."""
    with lock.hold(run.root):
        return [row.uri for row in build.add_images(run, ["trouble://"], 3, embed)]


def annotated(run: Run, plan: Plan = PLAN) -> Run:
    annotate_all(run, plan)
    return run


def undisturbed(root: Path, plan: Plan = PLAN) -> Run:
    run = fresh(root)
    take_in(run)
    return annotated(run, plan)


def counts(run: Run) -> dict[str, int]:
    """The headings that are not empty."""
    failed = {i for found in build.failed_images(run, PLAN).values() for i in found}
    found = accounts.account(run, failed, PLAN.fingerprint)
    return {name: count for name, count in found.items() if count}


def texts(run: Run) -> dict[str, str]:
    """Name of the picture -> its caption, of rows without errors."""
    return {
        row.uri.rpartition("/")[2]: row.captions[0].text
        for row in run.annotations()
        if not row.errors
    }


def errors(run: Run, key: str = "brightness.fake") -> list[str | None]:
    return [e for shard in run.shards() for e in run.read(key, shard, [ERROR])[ERROR]]


class PayloadError(Exception):
    """As libraries of clients have them: no OSError."""


FAULTS: dict[str, tuple[Exception, str]] = {
    "io": (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"),
    "unmounted": (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), "not connected"),
    "timeout": (TimeoutError("timed out"), "TimeoutError: timed out"),
    "vanished": (FileNotFoundError("1.png"), "FileNotFoundError: 1.png"),
    "forbidden": (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
    "client": (PayloadError("response not completed"), "PayloadError: response not completed"),
    "value": (ValueError("no such endpoint"), "no such endpoint"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_ingest_can_not_read_is_one_row_and_the_next_build_tries_again(
    tmp_path: Path, remote: type[TroubledFiles], name: str
) -> None:
    error, words = FAULTS[name]
    remote.troubles[BAD] = raising(error)
    run = fresh(tmp_path / "run")
    take_in(run)
    annotated(run)
    bad = [row for row in run.images() if row.error is not None]
    assert [row.uri for row in bad] == [f"trouble://{BAD}"]
    assert words in str(bad[0].error)
    assert counts(run) == {"found": 6, "annotated": 5, "unreadable": 1}
    take_in(run)
    assert len(list(run.images())) == 6, "what fails again is the same row"
    remote.troubles.clear()
    take_in(run)
    annotated(run)
    assert counts(run) == {"found": 6, "annotated": 6}
    assert texts(run) == texts(undisturbed(tmp_path / "plain"))


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_stage_can_not_read_is_a_failed_row_and_is_tried_again(
    tmp_path: Path, remote: type[TroubledFiles], name: str
) -> None:
    run = fresh(tmp_path / "run")
    take_in(run)
    error, words = FAULTS[name]
    remote.troubles[BAD] = raising(error)
    annotated(run)
    found = errors(run)
    assert [bool(e) for e in found] == [n == BAD for n in FILES]
    assert words in str(found[1]) and "cannot read 'trouble://1.png'" in str(found[1])
    assert counts(run) == {"found": 6, "annotated": 5, "failed": 1}
    heal(run, remote)
    assert same(run, undisturbed(tmp_path / "plain"))


def heal(run: Run, remote: type[TroubledFiles]) -> None:
    """The trouble is over, and the failed images are tried again."""
    remote.troubles.clear()
    remote.gone.clear()
    with lock.hold(run.root):
        retry.take_out_failed(run, PLAN)
    annotated(run)


def same(run: Run, other: Run) -> bool:
    """Whether all columns of all steps hold the same values."""

    def digests(run: Run) -> list[str]:
        keys = [step.key for step in PLAN.steps]
        paths = [run.fragment(key, shard) for key in keys for shard in run.shards()]
        return [content_digest(read_table(path)) for path in paths]

    return digests(run) == digests(other)


ALTERED: dict[str, Trouble] = {
    "other": lambda data: png(99),
    "short": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"more",
    "garbage": lambda data: bytes(len(data)),
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("name", ALTERED)
def test_no_stage_annotates_other_bytes_than_were_ingested(
    tmp_path: Path, remote: type[TroubledFiles], name: str
) -> None:
    run = fresh(tmp_path / "run")
    take_in(run)
    remote.troubles[BAD] = ALTERED[name]
    annotated(run)
    assert "has changed since it was ingested" in str(errors(run)[1])
    assert counts(run) == {"found": 6, "annotated": 5, "failed": 1}
    heal(run, remote)
    assert same(run, undisturbed(tmp_path / "plain"))


@pytest.mark.parametrize("name", ["short", "garbage", "empty"])
def test_what_ingest_reads_torn_is_another_content(
    tmp_path: Path, remote: type[TroubledFiles], name: str
) -> None:
    remote.troubles[BAD] = ALTERED[name]
    run = fresh(tmp_path / "run")
    take_in(run)
    assert counts(annotated(run)) == {"found": 6, "annotated": 5, "unreadable": 1}
    remote.troubles.clear()
    take_in(run)
    # The torn content was found, as that of a file which was overwritten since.
    assert counts(annotated(run)) == {"found": 7, "annotated": 6, "unreadable": 1}


def test_a_file_system_that_goes_away_while_stages_work(
    tmp_path: Path, remote: type[TroubledFiles]
) -> None:
    run = fresh(tmp_path / "run")
    take_in(run)
    read: list[int] = []

    def leave(data: bytes) -> bytes:
        read.append(1)
        if len(read) == 3:
            remote.gone.append(OSError(errno.ENOTCONN, "Transport endpoint is not connected"))
        return data

    remote.troubles.update(dict.fromkeys(FILES, leave))
    annotated(run)
    failed = [error for error in errors(run) if error is not None]
    assert len(failed) == 3
    assert all("Transport endpoint is not connected" in error for error in failed)
    with pytest.raises(TooManyFailedError, match=r"3 images failed \(brightness.fake: 3\)"):
        build.check_failed(run, PLAN, 2)
    heal(run, remote)
    assert same(run, undisturbed(tmp_path / "plain"))
    build.check_failed(run, PLAN, None)


def test_a_file_system_that_is_away_at_the_next_build_adds_no_rows(
    tmp_path: Path, remote: type[TroubledFiles]
) -> None:
    run = undisturbed(tmp_path / "run")
    away = raising(OSError(errno.EIO, os.strerror(errno.EIO)))
    remote.troubles.update(dict.fromkeys(FILES, away))
    assert take_in(run) == [f"trouble://{name}" for name in FILES]
    assert len(list(run.images())) == 6
    assert counts(annotated(run)) == {"found": 6, "annotated": 6}
    remote.gone.append(PayloadError("no route"))
    with pytest.raises(UserError, match="cannot list 'trouble://': PayloadError: no route"):
        take_in(run)


def test_no_room_for_what_is_read_stops_ingest_and_adds_nothing(
    tmp_path: Path, remote: type[TroubledFiles]
) -> None:
    def wrapped(data: bytes) -> bytes:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/cache/1.png")
        except OSError as error:
            raise PayloadError("could not cache") from error

    remote.troubles[BAD] = wrapped
    run = fresh(tmp_path / "run")
    with pytest.raises(OSError, match=r"/cache/1\.png"):
        take_in(run)
    assert run.shards() == []


def test_a_file_that_vanishes_before_it_is_embedded_waits_for_the_next_build(
    tmp_path: Path, remote: type[TroubledFiles]
) -> None:
    read: list[int] = []

    def once(data: bytes) -> bytes:
        read.append(1)
        if len(read) == 2:
            raise FileNotFoundError(BAD)
        return data

    remote.troubles[BAD] = once
    run = fresh(tmp_path / "run")
    take_in(run, embed=True)
    assert counts(annotated(run)) == {"found": 6, "annotated": 5, "unreadable": 1}
    take_in(run, embed=True)
    assert counts(annotated(run)) == {"found": 6, "annotated": 6}
    assert all(row.bytes is not None for row in run.images() if row.error is None)
