"""Servers of our own under Ray: a worker whose server dies is replaced, and none is left over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline import lock, runner
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.store import Run
from stages.level4.context import Context
from tests.fakes import SMALL, Brightness, Caption, Graph, local_ray, make_run
from tests.stages.chat.fake_vllm import alive, environment, wait_until
from tests.tiny.chats import llama
from tests.tiny.checkpoints import checkpoint

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray warns on its own

ANSWER = "There is a dog on the grass in front of a house."


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray():
        yield


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    return tmp_path / "pids"


def plan(tmp_path: Path, pids: Path, *tuning: str, **more: Any) -> Plan:
    context = Context(
        model=checkpoint(llama),
        vllm=str(environment(tmp_path / "env")),
        vllm_tuning=("--fake-pids", str(pids), "--fake-answer", ANSWER, *tuning),
        resources=SMALL,
        **more,
    )
    others = (Brightness(resources=SMALL), Caption(resources=SMALL), Graph(resources=SMALL))
    return make_plan([*others, context])


def execute(run: Run, wanted: Plan) -> list[Any]:
    with lock.hold(run.root) as token:
        runner.execute(run, wanted, runner.up_to_date(run, wanted), token, lambda outcome: None)
    return list(run.annotations())


def test_a_worker_whose_server_dies_is_replaced(cluster: None, tmp_path: Path, pids: Path) -> None:
    run = make_run(tmp_path, images=5, shard_size=5)
    rows = execute(run, plan(tmp_path, pids, "--fake-once", str(tmp_path / "once")))
    assert (tmp_path / "once").exists()
    assert [row.context.text for row in rows] == [ANSWER] * 5
    assert len(pids.read_text().split()) == 4, "two servers with an engine each"
    wait_until(lambda: not alive(pids))


def test_a_killed_worker_leaves_no_server(cluster: None, tmp_path: Path, pids: Path) -> None:
    import ray

    from grand_pipeline.actor import StageActor

    run = make_run(tmp_path, images=1, shard_size=1)
    wanted = plan(tmp_path, pids)
    with lock.hold(run.root) as token:
        actor = ray.remote(StageActor).remote(str(run.root), token, str(tmp_path / "words"))
        for key in ("brightness.fake", "caption.fake", "graph", "context"):
            ray.get(actor.annotate.remote(wanted.step(key), run.shards()[0]))
        assert len(alive(pids)) == 2
        ray.kill(actor)
    wait_until(lambda: not alive(pids))
