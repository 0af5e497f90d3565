"""One writer per run: an flock on `RUN/.lock` that names its holder, and one on `RUN/.commit`.

The operating system drops the lock when the process dies, however it dies, so what a dead holder
left in the file never stands in the way; it is read only to say who it was. Workers outlive their
driver by seconds, so every driver leaves a fresh token in the file, and a worker commits only while
the token it was started with is still there. Between its look at the token and the name that its
file gets, a worker shares `RUN/.commit`; a driver has it alone while it puts down its token. So
whatever an earlier driver's worker commits is there before the new driver looks at the run.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from grand_pipeline import publication
from grand_pipeline.errors import RunError, WorkerError

_LOCK, _COMMIT = ".lock", ".commit"
FILES = frozenset({_LOCK, _COMMIT})
"""Names of the files of a run that only locks are taken on."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMELESS_SECONDS = 0.5
"""How long a lock that no living process signs for is asked for again: a driver takes it before it
signs, and `busy` takes it for an instant."""
_COMMIT_SECONDS = 20.0
"""How long a driver waits for a commit that is under way: a few flushes of a folder."""
_PAUSE = 0.02


@contextmanager
def hold(root: Path) -> Iterator[str]:
    """Hold the run's lock; yields the token. In the end, what workers that died left is swept away.

    Raises RunError that names the present holder (host, process, start), or when a worker of the
    last driver stays in the middle of a commit.
    """
    publication.make_folder(root)
    with (root / _LOCK).open("a+") as file:
        _take(root, file)
        holder = _signature()
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


def busy(root: Path) -> bool:
    """Whether a process holds the run's lock at this moment."""
    try:
        with (root / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def held_by(root: Path, token: str) -> bool:
    """Whether the driver that gave out `token` is still the run's last one."""
    return _holder(root).get("token") == token


@contextmanager
def admitted(root: Path, token: str) -> Iterator[None]:
    """Keep the next driver waiting while a file of the driver `token` appears.

    Raises WorkerError when the run has another driver by now, or none.
    """
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
        if time.monotonic() > until or _known_alive(holder) or _elsewhere(holder):
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


def _signature() -> dict[str, Any]:
    return {
        "token": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _boot() -> str:
    """What tells this start of this machine from every other; empty where no system says so."""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""


def _elsewhere(holder: dict[str, Any]) -> bool:
    here = socket.gethostname()
    return bool(holder.get("host", here) != here)


def _known_alive(holder: dict[str, Any]) -> bool:
    """Whether the holder is a process of this machine, of its present start, that runs."""
    if _elsewhere(holder) or holder.get("boot") != _boot():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except PermissionError:
        return True
    except (KeyError, TypeError, ValueError, OverflowError, ProcessLookupError):
        return False
    return True


def _refusal(root: Path, holder: dict[str, Any]) -> str:
    who = f"host {holder.get('host')}, pid {holder.get('pid')}, since {holder.get('started')}"
    if not holder:
        return f"another process is just taking or freeing '{root}'; try again in a moment"
    if _elsewhere(holder):
        return (
            f"another process is writing '{root}' ({who}); wait for it or stop it there: from "
            "here nobody can see whether it still runs, and its file server frees the lock if not"
        )
    if _known_alive(holder):
        return f"another process is writing '{root}' ({who}); wait for it or stop it"
    return (
        f"another process is writing '{root}', and it is not the one that signed for it ({who}), "
        f"which has ended; `fuser {root / _LOCK}` names it: wait for it or stop it"
    )


def _holder(root: Path) -> dict[str, Any]:
    """What the lock file says; empty when nothing, or nothing that can be read."""
    try:
        found = json.loads((root / _LOCK).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
