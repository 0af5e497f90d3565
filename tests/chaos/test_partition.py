"""Real `ray start` processes on machines of their own, and a network between them that fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grand_pipeline.store import Run
from tests.chaos import net, nodes
from tests.chaos.net import Machine, Wires
from tests.chaos.nodes import asked, assert_finished, building, in_flight, said

# Ray warns on its own.
pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

PORT = 6379
SETTINGS = json.dumps({**nodes.QUICK, "health_check_timeout_ms": 2000})
"""A head that misses a machine after about 15 s."""
UP = """
import sys, time, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(0.2)
"""


@contextmanager
def cluster(count: int) -> Iterator[tuple[Wires, list[Machine], str]]:
    """Machines with Ray on each, the head on the first."""
    if why := net.unavailable():
        pytest.skip(why)
    with net.machines(count) as (wires, made):
        head = made[0]
        address = f"{head.address}:{PORT}"
        options = [f"--port={PORT}", f"--temp-dir={head.shared}", f"--system-config={SETTINGS}"]
        started = [head.start("--head", "--include-dashboard=false", *options)]
        time.sleep(3)
        started += [machine.start(f"--address={address}") for machine in made[1:]]
        nodes.here([*head.inside, nodes.PYTHON, "-c", UP, address, str(count)])
        try:
            yield wires, made, address
        finally:
            for machine in made:
                machine.end()
            for process in started:
                process.wait()


def seen(folder: Path) -> int:
    """How many images have been given to a stage."""
    return asked(folder).total() if (folder / "calls").exists() else 0


@pytest.mark.parametrize(("seconds", "cut"), [("3.0", 4.0), ("8.0", 40.0)], ids=["short", "long"])
def test_a_machine_that_is_cut_off_and_comes_back_disturbs_nothing(
    seconds: str, cut: float, tmp_path: Path
) -> None:
    """The run's folder is there all the time, as a file server's would be: what the machine does
    meanwhile is committed, beside what others are asked to do in its place."""
    with cluster(3) as (wires, made, address):
        build = building(tmp_path, address, seconds, inside=made[0].inside)
        nodes.wait_until(lambda: seen(tmp_path) >= 6, tmp_path)
        wires.cut.add(made[2].address)
        time.sleep(cut)
        wires.cut.clear()
        assert_finished(tmp_path, build, 24, in_flight(1))
    print(f"{wires.carried} packets carried, {wires.lost} lost")
    assert wires.lost > 0
    assert all(row.errors == () for row in Run(tmp_path / "run").annotations())


def test_a_slow_network_that_loses_packets_is_only_slow(tmp_path: Path) -> None:
    with cluster(3) as (wires, made, address):
        wires.delay, wires.loss = 0.2, 0.05
        build = building(tmp_path, address, "0.5", "600", "12", inside=made[0].inside)
        assert_finished(tmp_path, build, 12, in_flight(3))
    print(f"{wires.carried} packets carried, {wires.lost} lost")
    assert wires.lost > 20


def test_a_machine_whose_head_is_out_of_reach_ends_the_build_clearly(tmp_path: Path) -> None:
    """The build runs on a machine that is cut off from the head."""
    with cluster(2) as (wires, made, address):
        build = building(tmp_path, address, "1.0", inside=made[1].inside)
        nodes.wait_until(lambda: seen(tmp_path) >= 4, tmp_path)
        wires.cut.add(made[1].address)
        code = build.wait(timeout=120)
        assert code == 1, said(tmp_path)[-3000:]
        assert "grand: the head of the Ray cluster has not answered" in said(tmp_path)
        assert "Traceback" not in said(tmp_path)
        wires.cut.clear()
        again = building(tmp_path, address, "1.0", inside=made[0].inside)
        assert_finished(tmp_path, again, 24, in_flight(2))
