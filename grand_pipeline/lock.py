"""One writer per run: an flock on `RUN/.lock` that names its holder, and one on `RUN/.commit`.

The operating system drops the lock when the process dies, however it dies, so what a dead holder
left in the file never stands in the way; it is read only to say who it was. Workers outlive their
driver by seconds, so every driver leaves a fresh token in the file, and a worker commits only while
the token it was started with is still there. Between its look at the token and the name that its
file gets, a worker shares `RUN/.commit`; a driver has it alone while it puts down its token. So
whatever an earlier driver's worker commits is there before the new driver looks at the run.

A run in a bucket has a lease instead (see `storage.lease`), with the same promises.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from grand_pipeline import publication
from grand_pipeline.errors import RunError, WorkerError
from grand_pipeline.storage import BucketPath, Place, lease
from grand_pipeline.storage.holder import Holder, elsewhere, known_alive, parsed, signature, who

_LOCK, _COMMIT = lease.LOCK, ".commit"
FILES = frozenset({_LOCK, _COMMIT, lease.COMMITS})
"""Names in a run that only locks are taken on."""
_NAMELESS_SECONDS = 0.5
"""How long a lock that no living process signs for is asked for again: a driver takes it before it
signs, and `busy` takes it for an instant."""
_COMMIT_SECONDS = 20.0
"""How long a driver waits for a commit that is under way: a few flushes of a folder."""
_PAUSE = 0.02


@contextmanager
def hold(root: Place) -> Iterator[str]:
    """Hold the run's lock; yields the token. In the end, what workers that died left is swept away.

    Raises RunError that names the present holder (host, process, start), or when a worker of the
    last driver stays in the middle of a commit.
    """
    with lease.held(root) if isinstance(root, BucketPath) else _flocked(root) as token:
        yield token


@contextmanager
def _flocked(root: Path) -> Iterator[str]:
    publication.make_folder(root)
    with (root / _LOCK).open("a+") as file:
        _take(root, file)
        holder = signature()
        with _alone(root):
            file.truncate(0)
            file.write(json.dumps(holder))
            file.flush()
        try:
            yield holder["token"]
        finally:
            with _alone(root):
                file.truncate(0)
            publication.sweep(root)


def busy(root: Place) -> bool:
    """Whether a process holds the run's lock at this moment."""
    if isinstance(root, BucketPath):
        return lease.busy(root)
    try:
        with (root / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def held_by(root: Place, token: str) -> bool:
    """Whether the driver that gave out `token` is still the run's last one."""
    if isinstance(root, BucketPath):
        return lease.held_by(root, token)
    return _holder(root).get("token") == token


@contextmanager
def admitted(root: Place, token: str) -> Iterator[None]:
    """Keep the next driver waiting while a file of the driver `token` appears.

    Raises WorkerError when the run has another driver by now, or none.
    """
    if isinstance(root, BucketPath):
        with lease.admitted(root, token):
            yield
        return
    with (root / _COMMIT).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        if not held_by(root, token):
            raise WorkerError(f"run '{root}' has another driver by now; nothing is written")
        yield


def _take(root: Path, file: TextIO) -> None:
    """Lock the open lock file; wait for a moment where no living process is known to hold it."""
    until = time.monotonic() + _NAMELESS_SECONDS
    while not _locked(file):
        holder = _holder(root)
        if time.monotonic() > until or known_alive(holder) or elsewhere(holder):
            raise RunError(_refusal(root, holder))
        time.sleep(_PAUSE)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    until = time.monotonic() + _COMMIT_SECONDS
    with (root / _COMMIT).open("a+") as file:
        while not _locked(file):
            if time.monotonic() > until:
                raise RunError(
                    f"a worker that an earlier driver of '{root}' left behind is in the middle of "
                    f"a commit since {_COMMIT_SECONDS:.0f} s; end it (`fuser {root / _COMMIT}` "
                    "names it) and build again"
                )
            time.sleep(_PAUSE)
        yield


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refusal(root: Path, holder: Holder) -> str:
    if not holder:
        return f"another process is just taking or freeing '{root}'; try again in a moment"
    if elsewhere(holder):
        return (
            f"another process is writing '{root}' ({who(holder)}); wait for it or stop it there: "
            "from here nobody can see whether it still runs, and its file server frees the lock "
            "if not"
        )
    if known_alive(holder):
        return f"another process is writing '{root}' ({who(holder)}); wait for it or stop it"
    return (
        f"another process is writing '{root}', and it is not the one that signed for it "
        f"({who(holder)}), which has ended; `fuser {root / _LOCK}` names it: wait for it or stop it"
    )


def _holder(root: Path) -> Holder:
    """What the lock file says; empty when nothing, or nothing that can be read."""
    try:
        return parsed((root / _LOCK).read_bytes())
    except OSError:
        return {}
