"""A disk that is full or fails at any step of a build: one clear end, and the same command goes on.

Nothing of the product is replaced. A single fault is raised right before a step on the disk
(see `fakes.watch_steps`), lasting ones are the kernel's: a limit on the size of files, a file
system of a few pages.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from grand_pipeline import disk
from grand_pipeline.errors import DiskError
from tests.chaos import fakes, test_fail_points
from tests.chaos.fakes import at_step, in_child
from tests.chaos.test_fail_points import Scene, check

SAID = 77
"""Exit code of a child whose build ended with a DiskError that says where and what to do."""
HARMLESS = 78
"""Exit code of a child whose build came to its end although a step failed."""

scenes = test_fail_points.scenes


def told(scene: Scene, root: Path) -> None:
    """The build as the command line does it: one sentence for a fault of the disk."""
    try:
        with disk.guarded(root):
            scene.build(root)
    except DiskError as error:
        text = str(error)
        assert str(root) in text and "run the same command again" in text, text
        sys.exit(SAID)


def failing(scene: Scene, root: Path, number: int, code: int) -> None:
    """The build, one step of which fails."""
    failed: list[str] = []
    ended: list[str] = []

    def fail() -> None:
        if not ended:
            failed.append("at this step")
            raise OSError(code, os.strerror(code))

    at_step(number, fail, fakes.STEPS - {"flock"})
    told(scene, root)
    ended.append("what follows is the end of the process")
    if failed:
        sys.exit(HARMLESS)


def limited(scene: Scene, root: Path, number: int, size: int) -> None:
    """The build; no file may pass `size` bytes from the `number`-th that is opened to write on."""
    at_step(number, partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size)), {"open"})
    told(scene, root)


def survives(scene: Scene, root: Path, number: int, code: int) -> bool:
    """Whether the build has a step of this number; then it failed, and the build went on.

    It may come to its end at once, where a folder can not be made that is there already.
    """

    def stop(root: Path) -> int:
        ended = in_child(failing, scene, root, number, code)
        if ended == HARMLESS:
            assert fakes.content(root) == scene.after
        return SAID if ended == HARMLESS else ended

    return check(scene, root, stop, -SAID)


def survives_limit(scene: Scene, root: Path, number: int, size: int) -> bool:
    return check(scene, root, lambda root: in_child(limited, scene, root, number, size), -SAID)


def test_a_failing_step(scenes: dict[str, Scene], tmp_path: Path) -> None:
    assert survives(scenes["fresh"], tmp_path / "run", 30, errno.ENOSPC)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])
@pytest.mark.parametrize("name", ["fresh", "changed"])
def test_every_failing_step(scenes: dict[str, Scene], tmp_path: Path, name: str, code: int) -> None:
    scene, root = scenes[name], tmp_path / "run"
    points = next(n for n in count(1) if not survives(scene, root, n, code)) - 1
    print(f"{name}, {errno.errorcode[code]}: {points} failing steps")
    assert points > 80


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("size", [1, 700, 2000])
def test_every_limit_on_the_size_of_files(
    scenes: dict[str, Scene], tmp_path: Path, size: int
) -> None:
    scene, root = scenes["fresh"], tmp_path / "run"
    points = next(n for n in count(1) if not survives_limit(scene, root, n, size)) - 1
    print(f"{size} bytes: {points} limits")
    assert points > 5


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """A file system of this size at `place`; skips where none may be mounted."""
    place.mkdir()
    size = f"size={kilobytes}k"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "none", place], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system of its own may be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def on_a_full_disk(scene: Scene, place: Path, kilobytes: int) -> bool:
    """Whether the disk was too small; then the build said so, and goes on when it is larger."""
    with small_disk(place, kilobytes):
        root = place / "run"

        def stop(root: Path) -> int:
            code = in_child(told, scene, root)
            if code:
                subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
            return code

        return check(scene, root, stop, -SAID)


def test_a_full_disk(scenes: dict[str, Scene], tmp_path: Path) -> None:
    assert on_a_full_disk(scenes["fresh"], tmp_path / "disk", 60)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_a_disk_of_every_size(scenes: dict[str, Scene], tmp_path: Path) -> None:
    sizes = count(4, 4)
    scene = scenes["fresh"]
    enough = next(k for k in sizes if not on_a_full_disk(scene, tmp_path / f"{k}", k))
    print(f"{enough // 4 - 1} sizes of a disk, up to {enough} KB")
    assert enough > 40
