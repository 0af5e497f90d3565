"""A store that fails now and then, or for good; and the commands on a run in a bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from obstore.store import S3Store

from grand_pipeline import lock, runner
from grand_pipeline.errors import RunError
from grand_pipeline.plan import make_plan
from grand_pipeline.storage import Bucket, BucketPath, Place
from grand_pipeline.store import ERROR
from tests import buckets
from tests.chaos import fakes, stores
from tests.chaos.fakes import build_alone, fake_plan
from tests.chaos.stores import assert_whole, content, remote, undisturbed
from tests.fakes import SMALL, Caption, Graph, make_run
from tests.poisons import Fatal

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "examples" / "images"
KEY = "brightness.fake"
GRAND = "from grand_pipeline.cli import main; main()"


# A store that fails


@pytest.mark.parametrize("careless", [True, False])
def test_a_store_without_conditional_writes_is_refused(s3: str, careless: bool) -> None:
    refused = pytest.raises(RunError, match="whatever If-None-Match and If-Match say")
    with stores.failing(s3) as proxy:
        proxy.careless = careless
        store = S3Store(
            buckets.BUCKET,
            endpoint=proxy.address,
            access_key_id="key",
            secret_access_key="secret",
            client_options={"allow_http": True},
        )
        root = BucketPath(Bucket("s3://behind", store), "careless")
        with refused if careless else nullcontext(), lock.hold(root):
            assert not careless


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_store_that_fails_now_and_then_changes_nothing(
    s3: str, tmp_path: Path, share: float
) -> None:
    pictures = fakes.draw(tmp_path / "pictures", range(3))
    wanted = undisturbed(pictures, tmp_path / "undisturbed", fake_plan())
    with stores.failing(s3, seed=3) as proxy:
        root, stopped = remote(), 0
        proxy.share = share
        while built_through(proxy, root, pictures):
            stopped += 1
            proxy.share = share if stopped < 3 else 0.0
        print(f"{share}: {dict(proxy.done)}, stopped {stopped} times")
        assert proxy.done.total() - proxy.done["all"] > 5
    assert content(root, tmp_path / "copy") == wanted
    assert_whole(root)


def built_through(proxy: stores.Proxy, root: Place, pictures: Path) -> int:
    """Exit code of a build through the proxy."""
    return stores.ended(
        stores.process(proxy.address, build_alone, root, [pictures], fake_plan()), 900
    )


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_store_that_goes_away_stops_a_driver_which_goes_on_later(s3: str, tmp_path: Path) -> None:
    pictures = fakes.draw(tmp_path / "pictures", range(3))
    wanted = undisturbed(pictures, tmp_path / "undisturbed", fake_plan())
    with stores.failing(s3) as proxy:
        root = remote()
        proxy.kinds = ("cut",)
        proxy.until = 60
        begun = time.monotonic()
        assert built_through(proxy, root, pictures) == 1
        print(f"stopped after {time.monotonic() - begun:.0f} s")
        assert time.monotonic() - begun < 300
        proxy.until = None
        assert built_through(proxy, root, pictures) == 0
    assert content(root, tmp_path / "copy") == wanted
    assert_whole(root)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_store_that_is_gone_stops_a_command_with_one_line(s3: str, tmp_path: Path) -> None:
    pictures = fakes.draw(tmp_path / "pictures", range(3))
    with stores.failing(s3) as proxy:
        root = remote()
        environment = {**os.environ, **buckets.environment(proxy.address)}
        assert stores.ended(stores.process(s3, build_alone, root, [pictures], fake_plan())) == 0
        proxy.share, proxy.kinds = 1.0, ("503",)
        begun = time.monotonic()
        command = [sys.executable, "-c", GRAND, "verify", str(root)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        assert time.monotonic() - begun < 60
    assert done.returncode == 2
    assert "503" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# Ray, and the command


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")  # Ray warns on its own
def test_an_image_that_kills_its_workers_is_one_row(s3: str, tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    run = make_run(tmp_path, images=6, shard_size=3, at=remote())
    fatal = Fatal(bad=(("0004.png", "segv"),), batch_size=2, resources=SMALL)
    plan = make_plan([fatal, Caption(resources=SMALL), Graph(resources=SMALL)])
    # All work is done on another node than the driver's.
    store = {"object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
    cluster.add_node(num_cpus=1, **store)
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        with lock.hold(run.root) as token:
            runner.execute(run, plan, [], token, lambda outcome: None)
    finally:
        ray.shutdown()
        cluster.shutdown()
    found = [error for shard in run.shards() for error in run.read(KEY, shard, [ERROR])[ERROR]]
    assert [bool(error) for error in found] == [False] * 4 + [True, False]
    assert "Segmentation fault" in found[4]
    assert_whole(run.root)


def grand(s3: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GRAND, *map(str, arguments)],
        env={**os.environ, **buckets.environment(s3)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.chaos
@pytest.mark.ray
@pytest.mark.timeout(3600)
def test_the_default_preset_in_a_bucket_is_that_in_a_folder(s3: str, tmp_path: Path) -> None:
    root, local = remote(), tmp_path / "local"
    for place in (root, local):
        asked = ("--images", PICTURES, "--out", place, "--until", "fusion", "--shard-size", 4)
        done = grand(s3, "build", *asked)
        assert done.returncode == 0, done.stderr
        changed = ("rerun", "fusion", "--run", place, "--set", "fusion.nms_iou=0.4")
        assert (done := grand(s3, *changed)).returncode == 0, done.stderr
    wanted = content(local, tmp_path / "copy")
    assert content(root, tmp_path / "one") == wanted
    status = json.loads(grand(s3, "status", root, "--json").stdout)
    assert (status["found"], status["annotated"], status["pending"]) == (8, 8, 0)
    damaged = root / "stages" / "fusion" / "00000.parquet"
    buckets.write(damaged, damaged.read_bytes()[:-3])
    assert grand(s3, "verify", root).returncode == 1
    repaired = grand(s3, "repair", root, "--json")
    assert repaired.returncode == 0, repaired.stderr
    for name in (root / ".damaged").below():
        buckets.delete(root / ".damaged" / name)
    assert content(root, tmp_path / "two") == wanted
    assert grand(s3, "verify", root).returncode == 0
