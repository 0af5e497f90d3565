"""Every kind of bad image at once, on Ray: each is one row with its reason, in bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from grand_pipeline import lock, runner
from grand_pipeline.plan import make_plan
from grand_pipeline.stage import Limits
from grand_pipeline.store import ERROR, SKIPPED, Run
from grand_pipeline.verify import verify
from tests.fakes import SMALL, Brightness, Caption, Graph, annotate_all, local_ray, make_run
from tests.poisons import Fatal

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore")]  # Ray warns on its own

IMAGES, SHARD_SIZE, BATCH = 48, 24, 4
LIMITS = Limits(image_seconds=4.0, memory_gb=0.6)
# Two of them in one batch, first and last of a shard.
KINDS = {
    0: "segv",
    1: "exit",
    9: "hang",
    23: "memory",
    30: "hold",
    40: "raise",
    47: "kill",
}
DECODING = {16: "segv"}
"""Images whose file is fatal to whoever opens it: in a thread, ahead of their batch."""
SAYS = {
    "segv": "WorkerDied: Segmentation fault",
    "exit": "WorkerDied: the worker's process ended without a word, 3 times alone",
    "kill": "WorkerDied: the worker's process ended without a word, 3 times alone",
    "hang": "TimedOut: no result after 4 s",
    "hold": "TimedOut: no result after 4 s",
    "memory": "OutOfMemory: ",
    "raise": "ValueError: a bad image",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray():
        yield


def poisoned_run(root: Path) -> Run:
    """Images of which some are fatal to open; the others are those of a plain run."""
    plain = make_run(root / "plain", images=IMAGES, shard_size=SHARD_SIZE)
    rows = list(plain.images())
    for index, kind in DECODING.items():
        rows[index] = replace(rows[index], uri=f"poison://{kind}{rows[index].uri}")
    run = make_run(root, images=0)
    for start in range(0, IMAGES, SHARD_SIZE):
        run.add_shard(rows[start : start + SHARD_SIZE])
    return run


def flat(run: Run, key: str, column: str) -> list[object]:
    return [value for shard in run.shards() for value in run.read(key, shard, [column])[column]]


@pytest.mark.timeout(1800)
def test_every_bad_image_is_one_row_with_its_reason(cluster: None, tmp_path: Path) -> None:
    run = poisoned_run(tmp_path)
    bad = tuple((f"{index:04d}.png", kind) for index, kind in KINDS.items())
    fatal = Fatal(bad=bad, batch_size=BATCH, limits=LIMITS, resources=SMALL)
    plan = make_plan([fatal, Caption(resources=SMALL), Graph(resources=SMALL)])
    begun = time.monotonic()
    with lock.hold(run.root) as token:
        runner.execute(run, plan, [], token, lambda outcome: None)
    print(f"{len(KINDS) + len(DECODING)} bad images: {time.monotonic() - begun:.0f} s")
    expected = {i: SAYS[kind] for i, kind in {**KINDS, **DECODING}.items()}
    errors = flat(run, "brightness.fake", ERROR)
    assert {i for i, error in enumerate(errors) if error} == expected.keys()
    assert all(str(errors[i]).startswith(says) for i, says in expected.items()), errors
    skipped = flat(run, "caption.fake", SKIPPED)
    assert {i for i, key in enumerate(skipped) if key} == expected.keys()
    plain = Run(tmp_path / "plain" / "run")
    annotate_all(plain, make_plan([Brightness(), Caption(), Graph()]))
    pairs = zip(flat(run, "graph", "scene_graph"), flat(plain, "graph", "scene_graph"), strict=True)
    assert [i for i, (ours, theirs) in enumerate(pairs) if ours != theirs] == sorted(expected)
    assert [bool(row.errors) for row in run.annotations()] == [i in expected for i in range(IMAGES)]
    assert not list(run.root.rglob(".tmp-*"))
    assert verify(run.root).whole


STARVED = """
import sys
from pathlib import Path
import ray
from grand_pipeline import lock, runner
from grand_pipeline.errors import WorkerError
from grand_pipeline.plan import make_plan
from grand_pipeline.store import Run
from tests.fakes import SMALL, Brightness
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
run = Run(Path(sys.argv[1]))
with lock.hold(run.root) as token:
    try:
        plan = make_plan([Brightness(seconds=60.0, resources=SMALL)])
        runner.execute(run, plan, [], token, lambda outcome: None)
    except WorkerError as error:
        print(f"stopped: {error}")
"""


@pytest.mark.timeout(600)
def test_a_node_without_memory_ends_the_run_with_that_reason(tmp_path: Path) -> None:
    """Ray's own monitor ends every worker, as if the node were full at 1 %."""
    run = make_run(tmp_path, images=1, shard_size=1)
    scarce = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    done = subprocess.run(
        [sys.executable, "-c", STARVED, str(run.root)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **scarce},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert "stopped: " in done.stdout, done.stderr[-2000:]
    assert "its node was short of memory" in done.stdout
