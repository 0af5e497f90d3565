"""Builds that are killed at random moments, at random places, until they come to their end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tests.chaos import fakes

PATIENCE = 300.0


class Driver(Protocol):
    """A process that builds."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Its exit code, once it has one."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, waited for."""

    def kill(self) -> None: ...


@dataclass(frozen=True)
class Child:
    """A forked child as a Driver; `subprocess.Popen` is one already."""

    process: Any

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def poll(self) -> int | None:
        code: int | None = self.process.exitcode
        return code

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a forked driver", timeout or 0)
        return code

    def kill(self) -> None:
        self.process.kill()


Victims = Callable[[int], Mapping[str, Sequence[int]]]
"""The driver's pid -> kind -> pids of the processes that may be killed."""


@dataclass
class Torment:
    """Builds of one run, one after the other, and what is done to them."""

    root: Path
    start: Callable[[], Driver]
    victims: Victims
    weights: Mapping[str, int]
    """How often each kind is chosen."""
    random: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    given_up: int = 0
    """How often a build ended by itself with work left."""

    def run(self, kills: int) -> None:
        """Kill `kills` times, or until nothing is left to do; then let a build come to its end."""
        driver = self.start()
        try:
            while self.kills.total() < kills and driver.poll() != 0:
                driver = self._once(driver)
            while driver.wait(timeout=2 * PATIENCE) != 0:
                self.given_up += 1
                assert self.given_up <= kills, "a build that nobody disturbs must come to its end"
                driver = self.start()
        finally:
            driver.kill()
            driver.wait()

    def run_until(self, kills: int, add: Callable[[], object]) -> None:
        """Kill so often, each time that a run comes to its end `add` more pictures to it.

        A run may end before its kills: workers go on for a while when their raylet is gone.
        """
        while self.kills.total() < kills:
            add()
            self.run(kills)

    def _once(self, driver: Driver) -> Driver:
        fakes.wait_until(partial(moves, self.root, made(self.root), driver), PATIENCE)
        time.sleep(self.random.uniform(0, 0.1))
        kinds, weights = list(self.weights), list(self.weights.values())
        kind = self.random.choices(kinds, weights)[0]
        pids = self.victims(driver.pid).get(kind, [])
        fatal = False
        if driver.poll() is None and pids:
            kill(self.random.choice(pids))
            self.kills[kind] += 1
            assert fakes.torn(self.root) == []
            fatal = kind != "worker"
            if fatal:
                driver.wait(timeout=PATIENCE)
        if driver.poll() in (None, 0):
            return driver
        self.given_up += not fatal
        time.sleep(self.random.uniform(0, 0.4))
        return self.start()


def made(root: Path) -> int:
    """How many files the run has under their final names."""
    return len(list(root.rglob("*.parquet")))


def moves(root: Path, than: int, driver: Driver) -> bool:
    """Whether there is more than there was, or the driver has ended."""
    return made(root) > than or driver.poll() is not None


def kill(pid: int) -> None:
    """Without a word; it may just have ended by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def forked_processes(driver: int) -> dict[str, list[int]]:
    """Kind -> pids of a driver that forks its workers."""
    children = Path(f"/proc/{driver}/task/{driver}/children")
    workers = children.read_text().split() if children.exists() else []
    return {"driver": [driver], "worker": [int(pid) for pid in workers]}


def ray_processes(driver: int) -> dict[str, list[int]]:
    """Kind -> pids of a driver, its raylet and its workers."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[pid] = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
        except (OSError, IndexError, UnicodeDecodeError):
            continue
    below = {driver}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {
        "driver": [driver],
        "raylet": [pid for pid in below if names.get(pid, "").endswith("/raylet")],
        "worker": [pid for pid in below if names.get(pid, "").startswith("ray::StageActor")],
    }


def calls(log: Path) -> Counter[str]:
    """Stage and image -> how often the image was given to the stage."""
    asked = (line.split(" ", 1) for line in log.read_text().splitlines())
    return Counter(f"{key} {image}" for key, ids in asked for image in ids.split(","))
