"""Workers that leak are replaced by fresh ones, and the run goes on, on Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline import lock, runner
from grand_pipeline.plan import make_plan
from grand_pipeline.stage import Limits
from tests.fakes import local_ray, make_run
from tests.poisons import Leaking

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore")]  # Ray warns on its own

SHARDS, LEAK_MB, GROWTH_GB = 12, 60, 0.1


@pytest.mark.timeout(900)
def test_a_leaking_worker_makes_room_for_a_fresh_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=SHARDS, shard_size=1)
    leaking = Leaking(mb=LEAK_MB, pids=str(tmp_path / "pids"), limits=Limits(growth_gb=GROWTH_GB))
    plan = make_plan([leaking])
    with local_ray(cpus=1), lock.hold(run.root) as token:
        runner.execute(run, plan, [], token, lambda outcome: None)
    assert [row.errors for row in run.annotations()] == [()] * SHARDS
    pids = (tmp_path / "pids").read_text().split()
    # The first shard is what the model needs; two more are 120 MB, and more than 0.1 GB.
    assert len(set(pids)) == SHARDS // 3
    assert not list(run.root.rglob(".tmp-*"))
