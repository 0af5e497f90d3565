"""Drivers and workers of a run in a bucket are killed, left behind, and race for it."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from grand_pipeline.errors import RunError
from grand_pipeline.storage import BucketPath, Place, holder, lease
from grand_pipeline.store import Run
from tests import buckets
from tests.chaos import fakes, stores
from tests.chaos.fakes import build_alone, fake_plan
from tests.chaos.stores import assert_whole, content, current, remote, undisturbed
from tests.chaos.torment import kill

KEY, SHARD = "caption.fake", "00000"


# Fail points


def killed(root: Place, pictures: Path, number: int) -> None:
    """A build that dies before a request that changes the bucket."""
    stores.at_request(number, fakes.die)
    build_alone(root, [pictures], fake_plan())


def survives(s3: str, pictures: Path, number: int, folder: Path, wanted: dict[str, str]) -> bool:
    """Whether a build has so many requests; then it was killed there, and built again."""
    root = remote()
    code = stores.ended(stores.process(s3, killed, root, pictures, number))
    if code == 0:
        return False
    assert code == -9
    assert stores.ended(stores.process(s3, build_alone, root, [pictures], fake_plan())) == 0
    assert content(root, folder / str(number)) == wanted, f"request {number}"
    assert_whole(root)
    return True


@pytest.mark.parametrize("number", [21])
def test_some_fail_points(s3: str, tmp_path: Path, number: int) -> None:
    pictures = fakes.draw(tmp_path / "pictures", range(3))
    wanted = undisturbed(pictures, tmp_path / "undisturbed", fake_plan())
    assert survives(s3, pictures, number, tmp_path, wanted)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_every_fail_point(s3: str, tmp_path: Path) -> None:
    pictures = fakes.draw(tmp_path / "pictures", range(3))
    wanted = undisturbed(pictures, tmp_path / "undisturbed", fake_plan())
    last = next(n for n in count(1) if not survives(s3, pictures, n, tmp_path, wanted)) - 1
    print(f"{last} fail points")
    assert last > 20


# Random kills


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(2))
def test_random_kills_of_drivers_and_workers(s3: str, tmp_path: Path, seed: int) -> None:
    pick, pictures = random.Random(seed), fakes.draw(tmp_path / "pictures", range(80))
    root, told, log = remote(), tmp_path / "workers", tmp_path / "calls"
    plan = fake_plan(calls=str(log), seconds=0.1)
    wanted = undisturbed(pictures, tmp_path / "undisturbed", plan)
    log.write_text("")
    drivers = workers = 0
    while drivers + workers < 15:
        told.unlink(missing_ok=True)
        driver = stores.process(s3, stores.build_with_processes, s3, root, pictures, plan, told)
        fakes.wait_until(lambda driver=driver: told.exists() or driver.exitcode is not None)
        while driver.exitcode is None and pick.random() < 0.5:
            time.sleep(pick.uniform(0, 1.0))
            pids = [pid for pid in told.read_text().split() if Path(f"/proc/{pid}").exists()]
            if pids:
                kill(int(pick.choice(pids)))
                workers += 1
        time.sleep(pick.uniform(0, 1.0))
        if driver.exitcode is None:
            driver.kill()
            drivers += 1
        if stores.ended(driver) == 0:
            break
    last = stores.process(s3, stores.build_with_processes, s3, root, pictures, plan, told)
    assert stores.ended(last) == 0
    asked = len(log.read_text().splitlines())
    print(f"{drivers} drivers and {workers} workers killed, {asked} calls")
    found = stores.ids(Run.open(root))
    assert len(found) == len(set(found)) == 80
    assert content(root, tmp_path / "copy") == wanted
    assert_whole(root)
    assert drivers > 3 and workers > 3


# Workers that were left behind


def drive(root: Place, told: Path) -> None:
    """A driver that does nothing but say its token, with a lease that is soon over."""
    assert isinstance(root, BucketPath)
    with lease.held(root, 1.0) as token:
        told.with_suffix(".new").write_text(token)
        told.with_suffix(".new").rename(told)
        threading.Event().wait()


def write(root: Place, token: str, number: int) -> None:
    """A worker that stands still before a request of its commit."""
    from grand_pipeline.worker import annotate_shard

    stores.at_request(number, fakes.stop, stores.REQUESTS)
    annotate_shard(Run(root), fake_plan("mean").step(KEY), None, SHARD, token)


def overtaken(s3: str, begun: Path, pictures: Path, folder: Path, number: int) -> int | None:
    """A worker stands still, its driver is killed, another one with another option builds, and the
    worker goes on. Its exit code; None when it has no request of this number."""
    root, told = buckets.copied(begun, remote()), folder / f"token{number}"
    driver = stores.process(s3, drive, root, told)
    fakes.wait_until(told.exists)
    worker = stores.process(s3, write, root, told.read_text(), number)
    fakes.wait_until(partial(fakes.stopped, worker))
    late = worker.exitcode is not None
    driver.kill()
    driver.join()
    second = stores.process(s3, build_alone, root, [pictures], fake_plan("average"))
    second.join(timeout=2.0)
    fakes.resume(worker)
    code = stores.ended(worker)
    assert stores.ended(second) == 0
    found = current(root, folder / f"copy{number}")
    assert found == {k: v for k, v in json.loads((folder / "wanted").read_text()).items()}
    assert_whole(root)
    return None if late else code


def prepared(tmp_path: Path) -> tuple[Path, Path]:
    """A run here with its first stage done, and its pictures."""
    pictures = fakes.draw(tmp_path / "pictures", range(2))
    begun = tmp_path / "begun"
    build_alone(begun, [pictures], fake_plan("mean"))
    for name in (f"stages/{KEY}", "stages/graph", "annotations"):
        for path in (begun / name).glob("*.parquet"):
            path.unlink()
    wanted = undisturbed(pictures, tmp_path / "undisturbed", fake_plan("average"))
    (tmp_path / "wanted").write_text(json.dumps(wanted))
    return begun, pictures


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_a_worker_left_behind_at_any_request_disturbs_nothing(s3: str, tmp_path: Path) -> None:
    begun, pictures = prepared(tmp_path)
    codes: list[int | None] = []
    while None not in codes:
        codes.append(overtaken(s3, begun, pictures, tmp_path, len(codes) + 1))
    print(f"{len(codes) - 1} requests, turned away at {codes.count(1)}")
    assert codes.count(1) > 3 and codes.count(0) > 1


# The lease


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_of_drivers_that_race_for_a_lease_that_is_over_one_wins(s3: str) -> None:
    for _ in range(50):
        root = remote()
        signed = {**holder.signature(), "host": "elsewhere", "lease": 0.3}
        (root / lease.LOCK).overwrite(json.dumps(signed).encode())
        ready, done = threading.Barrier(3), threading.Barrier(3)

        def race(place: BucketPath, ready: threading.Barrier, done: threading.Barrier) -> bool:
            ready.wait()
            try:
                with lease.held(place):
                    done.wait()
                    return True
            except RunError:
                done.wait()
                return False

        with ThreadPoolExecutor(3) as pool:
            racing = [pool.submit(race, root, ready, done) for _ in range(3)]
            assert sum(one.result() for one in racing) == 1
