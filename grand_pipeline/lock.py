"""One writer per run: an flock on `RUN/.lock` that names its holder.

The operating system drops the lock when the process dies, however it dies. Workers outlive their
driver by seconds, so every driver leaves a fresh token in the file, and a worker commits only
while the token it was started with is still there.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from grand_pipeline.errors import RunError


@contextmanager
def hold(root: Path) -> Iterator[str]:
    """Hold the run's lock; yields the token. Raises RunError that names the present holder."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(_refusal(root, path)) from None
        token = uuid.uuid4().hex
        file.truncate(0)
        file.write(
            json.dumps(
                {
                    "token": token,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "started": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
        )
        file.flush()
        yield token


def busy(root: Path) -> bool:
    """Whether a process holds the run's lock at this moment.

    Asking shares the lock for an instant, and a driver that starts just then is refused.
    """
    try:
        with (root / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def held_by(root: Path, token: str) -> bool:
    """Whether the driver that gave out `token` is still the run's last one."""
    return _holder(root / ".lock").get("token") == token


def _refusal(root: Path, path: Path) -> str:
    holder = _holder(path)
    who = f"host {holder.get('host')}, pid {holder.get('pid')}, since {holder.get('started')}"
    return f"another process is writing '{root}' ({who}); wait for it or stop it"


def _holder(path: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found
