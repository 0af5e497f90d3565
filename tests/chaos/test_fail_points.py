"""A run that is killed before any one of its steps on the disk, and then built again.

The steps are those after which the disk is another one: opening a file to write, flushing what
was written, truncating, linking, renaming, removing, making a folder. Nothing of the product is
replaced.
"""

from __future__ import annotations

import re
import resource
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.chaos import fakes
from tests.chaos.fakes import at_step, build_alone, content, fake_plan, in_child


@dataclass(frozen=True)
class Scene:
    """A build, the run that it begins with (None: nothing) and the content that it ends with."""

    sources: tuple[Path, ...]
    word: str
    before: Path | None
    after: dict[str, str]

    def build(self, root: Path) -> None:
        """To its end, if nobody stops it."""
        build_alone(root, self.sources, fake_plan(self.word))

    def begin(self, root: Path) -> None:
        """The state that the build finds."""
        if self.before is not None:
            shutil.copytree(self.before, root)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """A first build; new pictures, a copy and another option; the first option again."""
    folder = tmp_path_factory.mktemp("undisturbed")
    first = fakes.draw(folder / "first", range(3))
    (first / "copy.png").write_bytes((first / "0001.png").read_bytes())
    (first / "torn.png").write_bytes((first / "0001.png").read_bytes()[:40])
    later = fakes.draw(folder / "later", [10])
    (later / "copy.png").write_bytes((first / "0000.png").read_bytes())
    stories = {
        "fresh": ((first,), "mean"),
        "changed": ((first, later), "average"),
        "reverted": ((first, later), "mean"),
    }
    found: dict[str, Scene] = {}
    before: Path | None = None
    for name, (sources, word) in stories.items():
        scene = Scene(sources, word, before, {})
        scene.begin(folder / name)
        scene.build(folder / name)
        before = folder / name
        found[name] = Scene(sources, word, scene.before, content(before))
    return found


def killed(scene: Scene, root: Path, number: int) -> None:
    """The build, until it dies before a step."""
    at_step(number, fakes.die)
    scene.build(root)


def cut(scene: Scene, root: Path, number: int, size: int) -> None:
    """The build, until the kernel stops a write in the middle: no file may pass `size` bytes from
    the `number`-th file that is opened for writing on."""
    at_step(number, partial(limit_files, size), {"open"})
    scene.build(root)


def limit_files(size: int) -> None:
    """Let this process die by the write that would make a file longer."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def check(scene: Scene, root: Path, stop: Callable[[Path], int], death: int) -> bool:
    """Stop the build and build again; False when the stop came too late for the build."""
    scene.begin(root)
    code = stop(root)
    if code == 0:
        return False
    assert code == -death
    assert fakes.torn(root) == []
    made = fakes.committed(root)
    assert in_child(scene.build, root) == 0
    assert content(root) == scene.after
    assert made.keys() <= fakes.committed(root).keys(), "what was committed was made again"
    fakes.assert_whole(root)
    shutil.rmtree(root)
    return True


def survives(scene: Scene, folder: Path, number: int) -> bool:
    """Whether the build has a step of this number; then it was killed there and built again."""
    root = folder / str(number)
    return check(scene, root, lambda root: in_child(killed, scene, root, number), signal.SIGKILL)


@pytest.mark.parametrize(("name", "number"), [("fresh", 9), ("fresh", 50), ("changed", 60)])
def test_some_fail_points(scenes: dict[str, Scene], tmp_path: Path, name: str, number: int) -> None:
    assert survives(scenes[name], tmp_path, number)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["fresh", "changed", "reverted"])
def test_every_fail_point(scenes: dict[str, Scene], tmp_path: Path, name: str) -> None:
    points = next(n for n in count(1) if not survives(scenes[name], tmp_path, n)) - 1
    print(f"{name}: {points} fail points")
    assert points > 50


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("size", [1, 150, 700, 2000])
def test_every_write_cut_in_the_middle(scenes: dict[str, Scene], tmp_path: Path, size: int) -> None:
    scene = scenes["fresh"]

    def survives_cut(number: int) -> bool:
        stop = partial(in_child, cut, scene)
        return check(scene, tmp_path / "run", lambda r: stop(r, number, size), signal.SIGXFSZ)

    points = next(n for n in count(1) if not survives_cut(n)) - 1
    print(f"{size} bytes: {points} cuts")
    assert points > 5


def traced(scene: Scene, root: Path, told: Path) -> None:
    """The build, its steps written down in the end."""
    steps: list[str] = []
    fakes.watch_steps(steps.append)
    scene.build(root)
    told.write_text(" ".join(tuple(steps)))


def test_no_name_before_its_bytes_are_on_the_disk(scenes: dict[str, Scene], tmp_path: Path) -> None:
    told = tmp_path / "steps"
    assert in_child(traced, scenes["fresh"], tmp_path / "run", told) == 0
    pieces = re.split(r"\b(?:link|rename)\b", told.read_text())
    files = len(list((tmp_path / "run").rglob("*.parquet"))) + len(["run.json"])
    assert len(pieces) == files + 1
    for before in pieces[:-1]:
        assert re.search(r"\bflush fsync (open flock )?(remove )?$", before)
    for after in pieces[1:]:
        assert re.match(r" (remove )?fsync\b", after), "the name itself is flushed next"
