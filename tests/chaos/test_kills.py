"""Drivers, workers and Ray's own processes are killed at random, and the dataset does not show it.

In flight when something is killed: at most what all workers hold (driver, raylet), or what the
killed worker holds. Only that may be computed once more.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline import codec
from grand_pipeline.columns import Annotation
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.store import Run
from tests.chaos import fakes
from tests.chaos.fakes import SHARD_SIZE, WORKERS, build_alone, build_with_forks, fake_plan, started
from tests.chaos.torment import (
    PATIENCE,
    Child,
    Torment,
    calls,
    forked_processes,
    made,
    moves,
    ray_processes,
)

ROOT = Path(__file__).parents[2]
NOTING_STAGES = 2
FORKED = {"driver": 1, "worker": 2}
RAY = {"driver": 1, "raylet": 1, "worker": 4}

DRIVER = """
import sys
from pathlib import Path
from tests.chaos.fakes import build_with_ray, fake_plan
root, pictures, temporary, word, calls = sys.argv[1:]
plan = fake_plan(word, calls, 0.3)
build_with_ray(Path(root), [Path(pictures)], plan, temporary)
"""

GRAND = "from grand_pipeline.cli import main; main()"


def forked(folder: Path, words: random.Random | None = None) -> Child:
    """A driver of the run in `folder` that forks its workers; with one of two options, drawn."""
    word = words.choice(["mean", "average"]) if words else "mean"
    plan = fake_plan(word, str(folder / "calls"), 0.02)
    return Child(started(build_with_forks, folder / "run", [folder / "pictures"], plan))


def with_ray(folder: Path, temporary: str, word: str = "mean") -> subprocess.Popen[bytes]:
    """A driver of the run in `folder` that has a Ray of its own."""
    places = (folder / "run", folder / "pictures", temporary, word, folder / "calls")
    command = [sys.executable, "-c", DRIVER, *map(str, places)]
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)


def undisturbed(folder: Path) -> list[Annotation]:
    """The published rows of a run of the same pictures that nobody disturbs."""
    root = folder / "undisturbed"
    build_alone(root, [folder / "pictures"], fake_plan())
    return list(Run(root).annotations())


def assert_nothing_lost(root: Path, pictures: Path) -> None:
    """The run holds every picture once, and every file of it is whole."""
    ids = [row.image_id for row in Run.open(root).images()]
    assert len(ids) == len(set(ids)) == len(list(pictures.rglob("*.png")))
    rows = list(Run.open(root).annotations())
    assert [row.image_id for row in rows] == ids
    assert all(row.scene_graph and row.errors == () for row in rows)
    fakes.assert_whole(root)


def assert_little_repeated(torment: Torment, folder: Path, images: int) -> None:
    """What the stages were asked is the least possible, and what was in flight when it stopped."""
    asked, least = calls(folder / "calls").total(), images * NOTING_STAGES
    print(f"{dict(torment.kills)}, {torment.given_up} given up, calls {asked} of at least {least}")
    stops = torment.kills.total() + torment.given_up
    assert least <= asked <= least + stops * WORKERS * SHARD_SIZE


def add_pictures(folder: Path, count: int) -> None:
    """So many more than there are."""
    pictures = folder / "pictures"
    there = len(list(pictures.glob("*.png")))
    fakes.draw(pictures, range(there, there + count))


def assert_undisturbed(torment: Torment, folder: Path) -> None:
    """Nothing of what was done to the run in `folder` can be seen in it, and it cost little."""
    assert_nothing_lost(folder / "run", folder / "pictures")
    assert list(Run(folder / "run").annotations()) == undisturbed(folder)
    assert_little_repeated(torment, folder, len(list((folder / "pictures").iterdir())))


def torment_forks(folder: Path, seed: int, images: int, kills: int) -> None:
    pick = random.Random(seed)
    torment = Torment(folder / "run", partial(forked, folder), forked_processes, FORKED, pick)
    torment.run_until(kills, partial(add_pictures, folder, images))
    assert_undisturbed(torment, folder)


def test_some_random_kills(tmp_path: Path) -> None:
    torment_forks(tmp_path, seed=1, images=4, kills=3)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_random_kills_of_drivers_and_forked_workers(seed: int, tmp_path: Path) -> None:
    torment_forks(tmp_path, seed, images=48, kills=26)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2))
def test_random_kills_while_options_change(seed: int, tmp_path: Path) -> None:
    pictures = fakes.draw(tmp_path / "pictures", range(40))
    pick = random.Random(seed)
    start = partial(forked, tmp_path, pick)
    torment = Torment(tmp_path / "run", start, forked_processes, {"driver": 2, "worker": 1}, pick)
    torment.run(30)
    print(f"{dict(torment.kills)}, {torment.given_up} given up")
    assert forked(tmp_path).wait() == 0
    assert_nothing_lost(tmp_path / "run", pictures)
    assert list(Run(tmp_path / "run").annotations()) == undisturbed(tmp_path)


@pytest.fixture
def temporary() -> Iterator[str]:
    """A folder with a name short enough for Ray's sockets."""
    folder = tempfile.mkdtemp(prefix="ray-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(7))
def test_random_kills_of_driver_workers_and_raylet(
    seed: int, tmp_path: Path, temporary: str
) -> None:
    start, pick = partial(with_ray, tmp_path, temporary), random.Random(seed)
    torment = Torment(tmp_path / "run", start, ray_processes, RAY, pick)
    torment.run_until(15, partial(add_pictures, tmp_path, 80))
    assert_undisturbed(torment, tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_restarts_with_another_option_while_ray_is_left(tmp_path: Path, temporary: str) -> None:
    fakes.draw(tmp_path / "pictures", range(24))
    root, pick = tmp_path / "run", random.Random(8)
    for word in ("mean", "average", "mean", "average"):
        driver = with_ray(tmp_path, temporary, word)
        fakes.wait_until(partial(moves, root, made(root), driver), PATIENCE)
        time.sleep(pick.uniform(0, 0.5))
        assert driver.poll() is None
        driver.kill()
        driver.wait()
    assert with_ray(tmp_path, temporary, "mean").wait(timeout=PATIENCE) == 0
    assert list(Run(root).annotations()) == undisturbed(tmp_path)
    fakes.assert_whole(root)


@dataclass
class Alike:
    """Equal but for the last digits of floats: a shard whose worker died may come in other batches.

    `largest` is the largest difference found, relative to the value where that is beyond 1.
    """

    largest: float = 0.0

    def __call__(self, one: Any, other: Any) -> bool:
        """Whether two plain values are alike."""
        if isinstance(one, float) and isinstance(other, float):
            self.largest = max(self.largest, abs(one - other) / max(1.0, abs(one)))
            return self.largest < 1e-4
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(self(one[k], other[k]) for k in one)
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self, one, other))
        return bool(one == other)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_random_kills_of_the_picture_book_preset(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()

    def more_scenes() -> None:
        seed = 7400 + len(list(pictures.iterdir()))
        render_dataset(tmp_path / f"lot{seed}", 12, seed)
        (tmp_path / f"lot{seed}" / "images").rename(pictures / f"lot{seed}")

    def build(name: str) -> subprocess.Popen[bytes]:
        to = ["--out", tmp_path / name, "--shard-size", "2"]
        command = [sys.executable, "-c", GRAND, "build", "--images", pictures, *to]
        with (tmp_path / "output").open("ab") as output:
            return subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=output, stderr=output)

    root, pick = tmp_path / "run", random.Random(20)
    torment = Torment(root, partial(build, "run"), ray_processes, RAY, pick)
    torment.run_until(20, more_scenes)
    print(f"picturebook: {dict(torment.kills)}, {torment.given_up} given up")
    assert_nothing_lost(root, pictures)
    assert build("undisturbed").wait(timeout=3 * PATIENCE) == 0
    alike = Alike()
    runs = (Run(root), Run(tmp_path / "undisturbed"))
    rows, wanted = ([codec.encode(row) for row in run.annotations()] for run in runs)
    assert alike(rows, wanted)
    print(f"largest difference of a float: {alike.largest}")
