"""Nodes that go and come while a run is built, and a head that goes: nothing is lost or blamed."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import nodes
from tests.chaos.nodes import add, assert_finished, building, busy, in_flight, remove, said

# Ray warns on its own.
pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

IMAGES = 24


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_node_costs_what_it_had_in_flight(lost: int, tmp_path: Path) -> None:
    """Of three nodes, one is lost; of two, the one that holds most workers."""
    with nodes.head(cpus=1) as cluster:
        gone = add(cluster, lost)
        if lost == 1:
            add(cluster, 1)
        build = building(tmp_path, cluster.address, "1.0", "600", "48")
        nodes.wait_until(partial(busy, tmp_path, gone.node_id, 2), tmp_path)
        remove(cluster, gone)
        late = add(cluster, 1)
        assert_finished(tmp_path, build, 48, in_flight(lost))
        assert busy(tmp_path, late.node_id), "a node that was added late is used"


def test_an_image_is_not_blamed_for_the_nodes_that_went_with_it(tmp_path: Path) -> None:
    """All the nodes there are, four times in the middle of the same image."""
    with nodes.head(cpus=0) as cluster:
        node = add(cluster, 1)
        build = building(tmp_path, cluster.address, "4.0", "600", "1")
        for round_ in range(4):
            nodes.wait_until(partial(busy, tmp_path, node.node_id), tmp_path)
            remove(cluster, node)
            if round_ == 0:
                nodes.wait_until(lambda: "waiting for nodes" in said(tmp_path), tmp_path)
            node = add(cluster, 1)
        assert_finished(tmp_path, build, images=1, lost=4)


def test_a_build_without_nodes_ends_clearly_and_goes_on_later(tmp_path: Path) -> None:
    with nodes.head(cpus=0) as cluster:
        node = add(cluster, 1)
        build = building(tmp_path, cluster.address, "1.0", "3")
        nodes.wait_until(partial(busy, tmp_path, node.node_id, 2), tmp_path)
        remove(cluster, node)
        assert build.wait(timeout=120) == 1
        assert "has room for any stage that is left for 3 s; add nodes" in said(tmp_path)
        assert "Traceback" not in said(tmp_path)
        add(cluster, 1)
        build = building(tmp_path, cluster.address, "1.0")
        assert_finished(tmp_path, build, IMAGES, in_flight(1))


def kill_control(cluster: Any) -> None:
    nodes.kill(cluster.head_node, "gcs_server")


def kill_raylet(cluster: Any) -> None:
    nodes.kill(cluster.head_node, "raylet")


def kill_node(cluster: Any) -> None:
    """As `ray stop --force` does on the head."""
    remove(cluster, cluster.head_node)


@pytest.mark.parametrize(
    ("strike", "says"),
    [
        (kill_control, "grand: the head of the Ray cluster has not answered for 40 s"),
        (kill_raylet, "grand: the node that this build was started on is no part"),
        (kill_node, "grand: the head of the Ray cluster has not answered for 40 s"),
    ],
    ids=["gcs", "raylet", "node"],
)
def test_a_lost_head_ends_the_build_clearly(
    strike: Callable[[Any], None], says: str, tmp_path: Path
) -> None:
    with nodes.head(cpus=1) as cluster:
        others = [add(cluster, 1) for _ in range(2)]
        build = building(tmp_path, cluster.address, "1.0")
        nodes.wait_until(partial(busy, tmp_path, others[0].node_id, 2), tmp_path)
        begun = time.monotonic()
        strike(cluster)
        assert build.wait(timeout=120) == 1, said(tmp_path)[-3000:]
        print(f"ended after {time.monotonic() - begun:.0f} s")
    assert says in said(tmp_path)
    assert "Traceback" not in said(tmp_path)
    with nodes.head(cpus=1) as cluster:
        build = building(tmp_path, cluster.address, "1.0")
        assert_finished(tmp_path, build, IMAGES, in_flight(3))
