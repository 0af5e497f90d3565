"""Keeps one child process for as long as the process that asked for it is there.

    python keeper.py LOG COMMAND...

The command runs in a process group of its own, its output in the file LOG. When the keeper's input
ends, which the kernel sees to however its owner dies, the whole group is stopped and LOG removed.
When the command ends by itself, the keeper writes its exit code, leaves LOG, and ends.

The keeper leaves its owner's family first, because whoever kills a worker may kill its children
with it and so leave theirs alone.

A program of the standard library only, run by its path: it has to be there at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

GRACE = 5.0
"""Seconds that the group has between being asked and being made to end."""

_LOOK = 0.5
_STATUS = 1


def keep(log: str, command: Sequence[str]) -> int | None:
    """Run the command until it ends (its exit code), or until the input does (None)."""
    with open(log, "ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while child.poll() is None:
            ready, _, _ = select.select([sys.stdin], [], [], _LOOK)
            if ready and not os.read(sys.stdin.fileno(), 1024):
                return None
        return child.returncode
    finally:
        stop(child)


def stop(child: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """End the child's whole group: asked first, so that it can tidy up, and then made to."""
    _signal(child.pid, signal.SIGTERM)
    end = time.monotonic() + grace
    while time.monotonic() < end and _signal(child.pid, 0):
        child.poll()  # A child that nobody has waited for still counts as one of its group.
        time.sleep(0.05)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group; whether there was anybody to get it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # What macOS says of a group of which only the dead are left.
        return False
    return True


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """Become nobody's child, then keep."""
    if os.fork():
        # Plainly gone: nothing of the copy may run twice.
        os._exit(0)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    log, command = sys.argv[1], sys.argv[2:]
    code = keep(log, command)
    if code is None:
        with contextlib.suppress(OSError):
            os.unlink(log)
    # The owner may be gone, and with it whoever would read this.
    with contextlib.suppress(BrokenPipeError):
        os.write(_STATUS, b"" if code is None else f"{code}\n".encode())


if __name__ == "__main__":
    main()
