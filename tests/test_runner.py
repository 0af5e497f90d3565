"""The Ray runner on fake stages, and what survives a SIGKILL of the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from grand_pipeline import lock, publication, runner
from grand_pipeline.errors import WorkerError
from grand_pipeline.plan import Plan, make_plan
from grand_pipeline.stage import Resources
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.verify import verify
from grand_pipeline.worker import Outcome
from tests.fakes import SMALL, Brightness, Caption, Deadly, Graph, local_ray, make_run

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray warns on its own


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_ray():
        yield


def fake_plan(log: str = "", seconds: float = 0.0) -> Plan:
    return make_plan(
        [
            Brightness(log=log, seconds=seconds, resources=SMALL),
            Caption(log=log, resources=SMALL),
            Graph(resources=SMALL),
        ]
    )


def execute(run: Run, plan: Plan) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with lock.hold(run.root) as token:
        publication.sweep(run.root)
        runner.execute(run, plan, runner.up_to_date(run, plan), token, outcomes.append)
    return outcomes


def calls(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def test_everything_is_done_once_and_published(cluster: None, tmp_path: Path) -> None:
    run = make_run(tmp_path, images=7, shard_size=3)
    log = tmp_path / "log"
    outcomes = execute(run, fake_plan(str(log)))
    assert Counter(outcome.step for outcome in outcomes) == {
        "brightness.fake": 3,
        "caption.fake": 3,
        "graph": 3,
        ANNOTATIONS: 3,
    }
    assert set(calls(log).values()) == {1}
    rows = list(run.annotations())
    assert [row.image_id for row in rows] == [row.image_id for row in run.images()]
    assert all(row.scene_graph == row.captions[0].text.upper() for row in rows if row.scene_graph)
    assert [row.errors for row in rows] == [()] * 7
    assert execute(run, fake_plan(str(log))) == []


def test_a_changed_option_reruns_that_stage_and_its_descendants(
    cluster: None, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    execute(run, fake_plan())
    plan = make_plan(
        [Brightness(resources=SMALL), Caption(word="avg", resources=SMALL), Graph(resources=SMALL)]
    )
    steps = {outcome.step for outcome in execute(run, plan)}
    assert steps == {"caption.fake", "graph", ANNOTATIONS}
    assert execute(run, fake_plan()) == [], "the first option's fragments were shelved"


def test_a_lost_fragment_is_computed_and_nothing_that_was_made_from_it(
    cluster: None, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    execute(run, fake_plan())
    run.discard("brightness.fake", "00001")
    outcomes = execute(run, fake_plan())
    assert [(outcome.step, outcome.shard) for outcome in outcomes] == [("brightness.fake", "00001")]
    assert verify(run.root).whole


def test_a_plan_without_room_waits_for_nodes_and_ends_with_that(
    cluster: None, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    plan = make_plan([Brightness(resources=Resources(cpus=3))])
    said: list[str] = []
    with lock.hold(run.root) as token, pytest.raises(WorkerError, match="for 1 s; add nodes"):
        runner.execute(run, plan, [], token, lambda outcome: None, said.append, patience=1.0)
    assert said == ["waiting for nodes: none of 1 has room for any stage that is left"]


def test_a_worker_that_dies_once_is_replaced(cluster: None, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    execute(run, make_plan([Deadly(folder=str(tmp_path), resources=SMALL)]))
    assert [row.tags[0].name for row in run.annotations()] == ["alive"] * 6


def test_a_worker_that_keeps_dying_while_it_loads_stops_the_run_with_its_name(
    cluster: None, tmp_path: Path
) -> None:
    run = make_run(tmp_path, images=2)
    with pytest.raises(WorkerError, match=r"'brightness.fake' died 3 times on shard 00000"):
        execute(run, make_plan([Unloadable(resources=SMALL)]))
    assert not list(run.root.rglob(".tmp-*"))


class Unloadable(Brightness):
    """Its weights end the process."""

    def load(self, device: str) -> float:
        os._exit(17)


DRIVER = """
import sys
from pathlib import Path
import ray
from grand_pipeline.store import Run
from tests.test_runner import execute, fake_plan
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
execute(Run(Path(sys.argv[1])), fake_plan(sys.argv[2], seconds=0.2))
"""


def test_killed_driver_loses_nothing_and_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=24, shard_size=2)
    log = tmp_path / "log"
    command = [sys.executable, "-c", DRIVER, str(run.root), str(log)]
    root = Path(__file__).parents[1]
    first = subprocess.Popen(command, cwd=root)
    deadline = time.monotonic() + 60
    while sum(calls(log).values()) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    committed = list((run.root / "stages").rglob("*.parquet"))
    before = {path: path.stat().st_ino for path in committed}
    assert committed, "the driver was killed before anything was done"
    subprocess.run(command, cwd=root, check=True, timeout=120)
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    assert [row.image_id for row in run.annotations()] == [row.image_id for row in run.images()]
    assert not list(run.root.rglob(".tmp-*"))
    assert all(publication.metadata(path) for path in run.root.rglob("*.parquet"))
    # 12 shards through two logging stages; one kill may repeat at most what two actors held.
    assert 24 <= sum(calls(log).values()) <= 24 + 2
