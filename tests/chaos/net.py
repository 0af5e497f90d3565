"""Machines on one machine: network namespaces, and the wires between them, which can be cut.

Each machine has a TUN device whose other end is a file of this process. A thread carries the
packets, late and with losses if so asked, so that nothing is needed of the kernel but namespaces.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000
_PACKET = 65536
_BIN = Path(sys.executable).parent


@dataclass
class Wires:
    """What carries the packets between the machines, by their address."""

    ends: dict[str, int] = field(default_factory=dict)
    """Address -> file that its packets come from and go to."""
    cut: set[str] = field(default_factory=set)
    """Addresses that nothing reaches and nothing comes from."""
    delay: float = 0.0
    """Seconds each way."""
    loss: float = 0.0
    """Share of packets."""
    carried: int = 0
    lost: int = 0
    closed: bool = False

    def carry(self) -> None:
        """Until closed."""
        chance = random.Random(5)
        late: list[tuple[float, int, int, bytes]] = []
        while not self.closed:
            ready, _, _ = select(list(self.ends.values()), [], [], 0.01 if late else 0.1)
            now = time.monotonic()
            for end in ready:
                packet = os.read(end, _PACKET)
                to = self.ends.get(_address(packet, 16))
                if to is None or packet[0] >> 4 != 4:
                    continue
                if self._stopped(packet) or chance.random() < self.loss:
                    self.lost += 1
                    continue
                self.carried += 1
                heapq.heappush(late, (now + self.delay, self.carried, to, packet))
            while late and late[0][0] <= now:
                _, _, to, packet = heapq.heappop(late)
                with suppress(OSError):  # The device is down, or its queue is full.
                    os.write(to, packet)

    def _stopped(self, packet: bytes) -> bool:
        return bool({_address(packet, 12), _address(packet, 16)} & self.cut)


def _address(packet: bytes, at: int) -> str:
    return socket.inet_ntoa(packet[at : at + 4]) if len(packet) >= 20 else ""


@dataclass(frozen=True)
class Machine:
    """A network namespace, with a folder of its own where all of them have `shared`."""

    name: str
    address: str
    folder: Path
    shared: Path

    @property
    def inside(self) -> list[str]:
        """How a command begins that runs there."""
        script = 'mount --bind "$0" "$1" && shift && exec "$@"'
        places = [str(self.folder), str(self.shared)]
        return ["ip", "netns", "exec", self.name, "sh", "-c", script, *places]

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """`ray start` there."""
        ray = [
            "env",
            "RAY_AUTH_MODE=disabled",
            str(_BIN / "ray"),
            "start",
            "--block",
            "--num-cpus=1",
        ]
        store = ["--object-store-memory=83886080", f"--node-ip-address={self.address}"]
        with (self.folder / "start").open("ab") as output:
            return subprocess.Popen(
                [*self.inside, *ray, *store, *options], stdout=output, stderr=output
            )

    def end(self) -> None:
        """SIGKILL for every process there."""
        listed = _ip("netns", "pids", self.name).split()
        for pid in listed:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _ip(*arguments: str) -> str:
    return subprocess.run(
        ["ip", *arguments], check=True, capture_output=True, text=True, timeout=30
    ).stdout


def unavailable() -> str:
    """Why there can be no machines here; empty when there can."""
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists() or shutil.which("ip") is None:
        return "needs root, iproute2 and /dev/net/tun"
    try:
        _ip("netns", "add", f"grand-{os.getpid()}")
        _ip("netns", "delete", f"grand-{os.getpid()}")
    except subprocess.SubprocessError as error:
        return f"no network namespaces here: {error}"
    return ""


@contextmanager
def machines(count: int) -> Iterator[tuple[Wires, list[Machine]]]:
    """So many machines on one network; all that runs there is ended in the end."""
    shared = Path(tempfile.mkdtemp(prefix="ray-"))
    wires, made = Wires(), list[Machine]()
    thread = threading.Thread(target=wires.carry, daemon=True)
    try:
        for number in range(count):
            made.append(_machine(f"grand-{os.getpid()}-{number}", f"10.77.0.{number + 1}", shared))
            wires.ends[made[-1].address] = _wire(made[-1])
        thread.start()
        yield wires, made
    finally:
        for machine in made:
            machine.end()
        wires.closed = True
        if thread.is_alive():
            thread.join()
        for end in wires.ends.values():
            os.close(end)
        for machine in made:
            _ip("netns", "delete", machine.name)
            shutil.rmtree(machine.folder, ignore_errors=True)
        shutil.rmtree(shared, ignore_errors=True)


def _machine(name: str, address: str, shared: Path) -> Machine:
    _ip("netns", "add", name)
    _ip("-netns", name, "link", "set", "lo", "up")
    return Machine(name, address, Path(tempfile.mkdtemp(prefix="ray-")), shared)


def _wire(machine: Machine) -> int:
    """A device in the machine; the file that stands for its other end."""
    end = os.open("/dev/net/tun", os.O_RDWR)
    device = f"w{os.getpid()}-{machine.address.rpartition('.')[2]}"
    flags = struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(end, _TUNSETIFF, flags)
    _ip("link", "set", device, "netns", machine.name)
    _ip("-netns", machine.name, "address", "add", f"{machine.address}/24", "dev", device)
    _ip("-netns", machine.name, "link", "set", device, "up")
    return end
