"""One writer per run in a bucket: a lease on the object `.lock`, renewed while its driver lives.

No system drops a lock in a bucket when its holder dies. So the holder signs with what tells whether
it still runs, and renews its signature every third of the lease. Who finds the lock held by a
process that is known to be gone takes it over at once; who can not see that process watches the
object, and takes over when it has not changed for the whole lease: no clocks are compared. Each
taking is a put that depends on the version that was seen, so of several takers one wins.

A worker announces its commit in `.commits/` before it looks for its driver's token, and a driver
signs before it looks there; so the driver sees every commit that its token came too late for, and
waits for it. What it can not wait for, a worker that stands still for a minute between its look and
its put, is stopped where the driver has published something of that name meanwhile: the worker
looks for the version that it is going to replace before it looks for the token (`publication`).
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from grand_pipeline.errors import RunError, StorageError, WorkerError
from grand_pipeline.storage.bucket import BucketPath
from grand_pipeline.storage.connection import BRIEF_SECONDS
from grand_pipeline.storage.holder import Holder, known_alive, known_dead, parsed, signature, who

LOCK, COMMITS = ".lock", ".commits"
SECONDS = 30.0
"""How long a lease lasts that is not renewed."""
_COMMIT_SECONDS = 60.0
"""How long a driver waits for the commits of an earlier one's workers that it can not see."""
_FREE, _PROBE = b"{}", b"{ }"

_held: dict[BucketPath, str] = {}
"""Run -> token of the leases that this process holds: a fact about the process, as an flock is."""


@contextmanager
def held(root: BucketPath, seconds: float = SECONDS) -> Iterator[str]:
    """Hold the run's lease; yields the token.

    Raises RunError that names the present holder, for a store that does not keep conditions, and,
    in the end, when the lease was lost.
    """
    mine = {**signature(), "lease": seconds, "beat": 0}
    keeper = _Keeper(root / LOCK, mine, _take(root, mine))
    _refuse_careless(root)
    keeper.start()
    try:
        _settle(root, _COMMIT_SECONDS)
        _held[root] = mine["token"]
        yield mine["token"]
    except WorkerError as error:
        keeper.end()
        if keeper.lost:
            raise _lost(root) from error
        raise
    finally:
        _held.pop(root, None)
        keeper.end()
        # What can not be freed now runs out by itself.
        with suppress(StorageError):
            _free(root, keeper)
    if keeper.lost:
        raise _lost(root)


def busy(root: BucketPath) -> bool:
    """Whether a process holds the run's lease; takes as long as it, where none can be seen."""
    seen = _Watch(root)
    while (alive := seen.alive()) is None:
        seen.pause()
    return alive


def held_by(root: BucketPath, token: str) -> bool:
    """Whether the driver that gave out `token` is still the run's last one."""
    return _holder(root).get("token") == token


@contextmanager
def admitted(root: BucketPath, token: str) -> Iterator[None]:
    """Announce a commit for as long as it takes. Raises WorkerError when `token` is no longer."""
    note = root / COMMITS / uuid.uuid4().hex
    note.overwrite(json.dumps(signature()).encode())
    answers = True
    try:
        if not held_by(root, token):
            raise WorkerError(f"run '{root}' has another driver by now; nothing is written")
        yield
    except StorageError:
        answers = False
        raise
    finally:
        if answers:  # A store that does not would only be waited for again.
            note.delete()


def confirm(path: BucketPath) -> None:
    """Raises RunError where this process drives the run of `path` no longer, though it did."""
    for root, token in list(_held.items()):
        if path.bucket == root.bucket and path.key.startswith(f"{root.key}/".lstrip("/")):
            if not held_by(root, token):
                raise _lost(root)
            return


class _Watch:
    """What is seen of a lease from outside."""

    def __init__(self, root: BucketPath) -> None:
        self._lock = root / LOCK
        self._since = time.monotonic()
        self._first: str | None = None
        self.version: str | None = None
        self.holder: Holder = {}

    def alive(self) -> bool | None:
        """Whether somebody holds it; None where more has to be seen."""
        found = self._lock.get()
        self.version, self.holder = (found.version, parsed(found.data)) if found else (None, {})
        if not self.holder or known_dead(self.holder):
            return False
        if known_alive(self.holder) or self._first not in (None, self.version):
            return True
        self._first = self.version
        return False if time.monotonic() - self._since > _lease(self.holder) else None

    def pause(self) -> None:
        """Until the next look."""
        time.sleep(min(1.0, _lease(self.holder) / 10))


def _take(root: BucketPath, mine: dict[str, Any]) -> str:
    """Sign the lock object; returns its version. Raises RunError when somebody holds it."""
    seen = _Watch(root)
    while True:
        alive = seen.alive()
        if alive:
            raise RunError(
                f"another process is writing '{root}' ({who(seen.holder)}); wait for it or stop it"
            )
        if alive is None:
            seen.pause()
        elif version := (root / LOCK).put(json.dumps(mine).encode(), seen.version):
            return version


def _refuse_careless(root: BucketPath) -> None:
    """Raises RunError for a store that speaks S3 and overwrites whatever the conditions are."""
    lock = root / LOCK
    if lock.put(_PROBE, None) or lock.put(_PROBE, '"no version"'):
        lock.delete()
        raise RunError(
            f"the store of '{root}' overwrites objects whatever If-None-Match and If-Match say, so "
            "a run is not safe there; give --out a folder, or a store with conditional writes"
        )


def _settle(root: BucketPath, patience: float) -> None:
    """Wait until commits that were announced are done; then forget those that are not."""
    until = time.monotonic() + patience
    while notes := list((root / COMMITS).iterdir()):
        for note in notes:
            found = note.get()
            late = time.monotonic() > until
            if found is not None and (late or known_dead(parsed(found.data))):
                note.delete()
        time.sleep(0.05)


def _free(root: BucketPath, keeper: _Keeper) -> None:
    """Let others have the lock, and sweep what workers that died have announced."""
    if keeper.lost or not keeper.sign({**keeper.mine, "token": ""}):
        return
    for note in (root / COMMITS).iterdir():
        found = note.get()
        if found is not None and known_dead(parsed(found.data)):
            note.delete()
    (root / LOCK).put(_FREE, keeper.version, BRIEF_SECONDS)


def _holder(root: BucketPath) -> Holder:
    found = (root / LOCK).get()
    return {} if found is None else parsed(found.data)


def _lease(holder: Holder) -> float:
    try:
        return min(max(float(holder.get("lease", SECONDS)), 0.1), 10 * SECONDS)
    except (TypeError, ValueError):
        return SECONDS


def _lost(root: BucketPath) -> RunError:
    now = _holder(root)
    by = f" ({who(now)})" if now.get("host") else ""
    return RunError(
        f"this process did not renew its lease on '{root}' in time, and another has taken the run "
        f"over{by}; nothing more was written. What was committed is kept"
    )


class _Keeper(threading.Thread):
    """Renews a lease until it is told to end, or another process has it."""

    def __init__(self, lock: BucketPath, mine: dict[str, Any], version: str) -> None:
        super().__init__(name="lease", daemon=True)
        self._lock, self._ended = lock, threading.Event()
        self.mine, self.version = mine, version
        self.lost = False

    def run(self) -> None:
        """Until the end."""
        pause = float(self.mine["lease"]) / 3
        while not self.lost and not self._ended.wait(pause):
            # A store that does not answer is asked again; meanwhile nobody else can take the run.
            with suppress(StorageError):
                self.sign({**self.mine, "beat": int(self.mine["beat"]) + 1})

    def sign(self, now: dict[str, Any]) -> bool:
        """Put down another signature; False, and lost, where the last one has been replaced."""
        # In time to try again before the lease is over.
        version = self._lock.put(json.dumps(now).encode(), self.version, BRIEF_SECONDS)
        if version is None:
            self.lost = True
            return False
        self.mine, self.version = now, version
        return True

    def end(self) -> None:
        """Stop renewing."""
        self._ended.set()
        self.join()
