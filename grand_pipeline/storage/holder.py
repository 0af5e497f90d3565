"""Who drives a run: what a driver signs with, and whether the one that signed still runs."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc/self/ns/pid")

Holder = Mapping[str, Any]
"""What a driver has signed with; empty when nobody has, or nothing that can be read."""


def signature() -> dict[str, Any]:
    """What tells this process from every other, and a fresh token."""
    return {
        "token": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "boot": _boot(),
        "processes": _processes(),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def parsed(text: str | bytes) -> dict[str, Any]:
    """The signature that was left; empty when it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def elsewhere(holder: Holder) -> bool:
    """Whether it is a process of another machine."""
    here = socket.gethostname()
    return bool(holder.get("host", here) != here)


def known_alive(holder: Holder) -> bool:
    """Whether the holder is a process of this machine, of its present start, that runs."""
    return _is_ours(holder) and _runs(holder)


def known_dead(holder: Holder) -> bool:
    """Whether it was a process among those that can be seen from here, and is gone."""
    seen = holder.get("processes") == _processes() != ""
    return _is_ours(holder) and seen and not _runs(holder)


def who(holder: Holder) -> str:
    """Host, process and start, for a message."""
    return f"host {holder.get('host')}, pid {holder.get('pid')}, since {holder.get('started')}"


def _is_ours(holder: Holder) -> bool:
    return not elsewhere(holder) and holder.get("boot") == _boot()


def _runs(holder: Holder) -> bool:
    try:
        pid = int(holder["pid"])
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (KeyError, TypeError, ValueError, OverflowError, ProcessLookupError):
        return False
    # Another process may have its number by now.
    return holder.get("born") in (None, "", _born(pid))


def _boot() -> str:
    """What tells this start of this machine from every other; empty where no system says so."""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""


def _processes() -> str:
    """Which numbering of processes this one is in: containers may share a host's name."""
    try:
        return os.readlink(_PROCESSES)
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process began, in the system's own count; empty where no system says so."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return ""
