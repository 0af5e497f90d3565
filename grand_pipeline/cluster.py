"""The machines that a plan runs on: this one, or the nodes of a Ray cluster.

Much of Ray waits for the cluster's head, and when that has gone, Ray ends the whole process after a
minute without a word to Python. So what needs the head is asked in a thread (`answered`), and a
head that is silent for shorter than that is an error like any other. Where Ray ends the process all
the same, as it may while it starts, another process says so (`obituary`).
"""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar
from urllib.parse import urlsplit

from grand_pipeline import memory
from grand_pipeline.errors import ClusterError, UserError
from grand_pipeline.plan import Plan, check_fits, without_gpus
from grand_pipeline.stage import Resources

T = TypeVar("T")

_HEAD_SECONDS = 40
"""How long the head may be silent; Ray itself ends the process after 60."""
_DOOR_SECONDS = 5.0
_GREETING_SECONDS = 20
_SAID = 300  # characters; some of Ray's errors hold whole log files
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_SILENT = (
    "the head of the Ray cluster has not answered for {} s: it has ended, or the way to it is cut. "
    "What was committed is kept: build again when the cluster is back"
)
_ENDED = (
    "grand: the process of this build was ended from within Ray, by what stands above, or from "
    "outside. What was committed is kept: build again\n"
)
_OBITUARY = "import sys; sys.stdin.buffer.read(1) or sys.stderr.write(sys.argv[1])"
_REMEDY = "look with `ray status` whether it runs, and give --address auto or HOST:PORT of its head"


def this_machine() -> Resources:
    """CPUs, GPUs and memory of this machine, without importing torch or starting Ray."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return Resources(len(os.sched_getaffinity(0)), gpus, memory.machine() / 2**30)


def answered(call: Callable[[], T], seconds: int = _HEAD_SECONDS) -> T:
    """What a call that needs the cluster's head returns. Raises ClusterError when it is silent."""
    future: Future[T] = Future()

    def ask() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=ask, daemon=True).start()
    for _ in range(seconds):  # Not one long wait: a process that was stopped has not waited.
        if wait([future], 1.0).done:
            return future.result()
    raise ClusterError(_SILENT.format(seconds))


def alive_nodes() -> dict[str, Resources]:
    """Node id -> what it has in all, for the nodes of the cluster that are alive.

    Raises ClusterError when the head does not answer.
    """
    import ray

    return {
        node["NodeID"]: Resources(
            node["Resources"].get("CPU", 0),
            node["Resources"].get("GPU", 0),
            node["Resources"].get("memory", 0) / 2**30,
        )
        for node in answered(ray.nodes)
        if node["Alive"]
    }


@contextmanager
def connected(address: str | None, plan: Plan) -> Iterator[None]:
    """A Ray that can hold `plan`: the cluster at `address`, or one of this machine's own.

    Raises UserError when there is none at the address, ClusterError when it can not be joined or
    none can be started, PlanError when the cluster is too small. One that is connected already is
    left as it is.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    with obituary():
        if address is None:
            _start()
        else:
            _join(address)
        leave: Callable[[], object] = ray.shutdown
        try:
            if address is not None:
                nodes = list(alive_nodes().values())
                check_fits(without_gpus(plan, nodes), nodes)
            yield
        except ClusterError:
            leave = _abandon
            raise
        finally:
            leave()


@contextmanager
def obituary() -> Iterator[None]:
    """Should this process end within, and Python not be told, another one says so on stderr."""
    command = [sys.executable, "-I", "-S", "-c", _OBITUARY, _ENDED]
    # A session of its own: who stops this process from the keyboard does not stop that one.
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        watcher.communicate(b".")


def _abandon() -> None:
    """Leave Ray as it is: `ray.shutdown` would wait for the head, and so it would as Python ends.

    With calls under way that never come back, Python itself ends by a crash: hence `_end_hard`.
    """
    import ray

    atexit.unregister(ray.shutdown)
    atexit.register(_end_hard)


def _end_hard() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ClusterError.exit_code)


def _start() -> None:
    """Start a Ray on this machine, once more where that may help. Raises ClusterError."""
    import ray

    machine = this_machine()
    start = partial(
        ray.init,
        "local",  # Not one that RAY_ADDRESS names, or that happens to run here.
        num_cpus=int(machine.cpus),
        num_gpus=int(machine.gpus),
        # Ray sets a third of the memory aside, and a stage that fits here would find no place.
        _memory=int(machine.memory_gb * 2**30),
        include_dashboard=False,
        **_QUIET,
    )
    _hold_token()
    before = _children()
    try:
        start()
    except (OSError, ValueError) as error:
        raise _not_started(error) from error
    except Exception:  # Ray's own class for a start that took too long.
        _end(_children() - before)
        try:
            start()
        except Exception as error:
            _end(_children() - before)
            raise _not_started(error) from error


def _hold_token() -> None:
    """Ray writes a token for its own calls below the home folder; where that is closed, it takes
    one from the environment, which its workers inherit."""
    home = Path.home()
    kept = (home / ".ray" / "auth_token").exists()
    if not kept and not os.access(home, os.W_OK) and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _not_started(error: Exception) -> ClusterError:
    # As Ray chooses it: `tempfile` passes over a folder that it can not write to.
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or tempfile.gettempdir()
    return ClusterError(
        f"Ray can not be started on this machine: {_said(error)}. It keeps its sockets and "
        f"logs in '{folder}', which must be a folder that can be written to, of at most 35 bytes; "
        "RAY_TMPDIR names another. If the machine is overloaded or short of memory or disk, free "
        "some and build again: what was committed is kept"
    )


def _children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in lists for pid in path.read_text().split()}


def _end(pids: set[int]) -> None:
    """End what a start that failed has left; it would slow down the next one."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def reached(address: str) -> str:
    """The address of the cluster as Ray wants it. Raises UserError when nobody answers there."""
    try:
        place, host, port = _located(address)
        socket.create_connection((host, port), _DOOR_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at '{address}': {_said(error)}; {_REMEDY}") from error
    return place


def _join(address: str) -> None:
    """Connect to the cluster at `address`.

    Raises, in seconds, UserError when there is none, and ClusterError when it does not let us in.
    """
    import ray

    place = reached(address)
    try:
        if "://" not in place:
            answered(partial(ray._raylet.GcsClient, address=place), _GREETING_SECONDS)
        ray.init(place, **_QUIET)
    except ClusterError:
        raise UserError(f"what listens at '{address}' does not answer as Ray; {_REMEDY}") from None
    except Exception as error:
        raise ClusterError(
            f"the Ray cluster at '{address}' can not be joined: {_said(error)}. This machine must "
            f"be one of its nodes, with the same versions of Ray and Python; {_REMEDY}"
        ) from error


def _located(address: str) -> tuple[str, str, int]:
    """The address as Ray wants it, its host and its port. Raises ValueError or OSError."""
    from ray._private.services import canonicalize_bootstrap_address_or_die as find

    place = address if "://" in address else find(address)
    parts = urlsplit(place if "://" in place else f"//{place}")
    if parts.hostname is None or parts.port is None:
        raise ValueError("an address is auto, HOST:PORT or ray://HOST:PORT")
    return place, parts.hostname, parts.port


def _said(error: BaseException) -> str:
    """What an error of Ray's says, on one line."""
    return " ".join(str(error).split())[:_SAID].rstrip(".") or type(error).__name__
