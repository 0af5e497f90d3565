"""Calls between Ray's own processes fail, by Ray's own injection; the run does not show it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.chaos import nodes
from tests.chaos.nodes import assert_finished, building, in_flight, said

# Ray warns on its own.
pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

IMAGES = 12
CPUS = 2
MOST = 2 * in_flight(CPUS)
"""Images given to a stage once more: what fails is failed a few times in each process."""
ACTORS = (
    "ActorInfoGcsService.RegisterActor",
    "ActorInfoGcsService.CreateActor",
    "ActorInfoGcsService.GetActorInfo",
)
CONTROL = ("InternalKVGcsService.InternalKVGet", "InternalKVGcsService.InternalKVPut")
PUBLICATIONS = (
    "ControlPlanePubSubGcsService.GcsSubscriberPoll",
    "CoreWorkerService.PubsubLongPolling",
)
LEASES = (
    "NodeManagerService.RequestWorkerLease",
    "NodeManagerService.ReturnWorkerLease",
    "NodeManagerService.CancelWorkerLease",
)
NODES = ("NodeInfoGcsService.GetAllNodeInfo", "NodeInfoGcsService.GetAllNodeAddressAndLiveness")
WAYS = ("req_failure_prob", "resp_failure_prob", "in_flight_failure_prob")
SOME, EVERY = dict.fromkeys(WAYS, 20), {**dict.fromkeys(WAYS, 0), WAYS[0]: 100}
"""Percent: each of Ray's ways to fail now and then, or no call gets through."""
FAULTS = {
    "push": (("CoreWorkerService.PushTask",), 3, SOME),
    "push often": (("CoreWorkerService.PushTask",), 8, SOME),
    "actors": (ACTORS, 5, SOME),
    "leases": (LEASES, 5, SOME),
    "kills": (("ActorInfoGcsService.KillActorViaGcs", "CoreWorkerService.KillActor"), 50, SOME),
    "every kill": (("CoreWorkerService.KillActor", "NodeManagerService.KillLocalActor"), 99, EVERY),
    "control": (CONTROL, 5, SOME),
    "nodes": (NODES, 10, SOME),
    "publications": (PUBLICATIONS, 5, SOME),
    "jobs": (("JobInfoGcsService.AddJob", "JobInfoGcsService.MarkJobFinished"), 2, EVERY),
    "all": (("*",), 2, SOME),
}
"""Which calls fail, and how often at most in each of Ray's processes."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a name short enough for Ray's sockets."""
    folder = tempfile.mkdtemp(prefix="ray-")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


def failing(calls: Sequence[str], times: int, chances: Mapping[str, int]) -> str:
    """Ray's setting."""
    names = [call.replace(".", ".grpc_client.") for call in calls]
    names = [f"ray::rpc::{name}" if "Gcs" in name else name for name in names]
    return json.dumps({name: {"num_failures": times, **chances} for name in names})


def injected(temporary: Path) -> Counter[str]:
    """Call -> how often Ray says that it has failed it."""
    found: Counter[str] = Counter()
    for log in (temporary / "ray").glob("session_2*/logs/*"):
        if log.is_file():
            lines = log.read_text("utf-8", "replace").splitlines()
            found.update(line.rsplit(" ", 1)[1] for line in lines if "Inject RPC" in line)
    return found


def assert_it_does_not_show(folder: Path, env: Mapping[str, str], most: int) -> None:
    """A build with this environment comes to its end, or ends clearly and does so without it."""
    build = building(folder, "here", "0.2", "600", str(IMAGES), env={**os.environ, **env})
    code = build.wait(timeout=300)
    print(f"exit code {code}")
    if code:
        assert code == 1 and "grand: " in said(folder) and "Traceback" not in said(folder)
        build = building(folder, "here", "0.2", "600", str(IMAGES))
    assert_finished(folder, build, IMAGES, most)


@pytest.mark.parametrize("name", FAULTS)
def test_calls_of_rays_that_fail_do_not_show(name: str, tmp_path: Path, temporary: Path) -> None:
    env = {"RAY_testing_rpc_failure": failing(*FAULTS[name]), "RAY_TMPDIR": str(temporary)}
    assert_it_does_not_show(tmp_path, env, most=MOST)
    found = injected(temporary)
    print(f"{name}: injected {dict(found)}")
    assert found.total() > 0


@pytest.mark.parametrize(
    "delays",
    [
        "*=0:3000",
        "NodeManagerService.grpc_server.RequestWorkerLease=100000:500000",
        "CoreWorkerService.grpc_server.PushTask=50000:300000",
    ],
    ids=["everything", "leases", "push"],
)
def test_what_takes_long_within_ray_does_not_show(delays: str, tmp_path: Path) -> None:
    """From so many microseconds to so many; the first is often too much for Ray's own start."""
    assert_it_does_not_show(tmp_path, {"RAY_testing_asio_delay_us": delays}, in_flight(CPUS))


def test_a_ray_that_does_not_come_up_is_an_error(tmp_path: Path, temporary: Path) -> None:
    """With too few open files its processes do not get through; it is started twice."""
    env = {**os.environ, "RAY_TMPDIR": str(temporary)}
    build = building(tmp_path, "here", "0.2", inside=("prlimit", "--nofile=40:40"), env=env)
    assert build.wait(timeout=200) == 1, said(tmp_path)[-3000:]
    assert "grand: Ray can not be started on this machine: Timed out" in said(tmp_path)
    assert "Traceback" not in said(tmp_path)
    assert len(list((temporary / "ray").glob("session_2*"))) == 2


def test_what_ray_address_names_is_not_taken_for_this_machine(tmp_path: Path) -> None:
    build = building(
        tmp_path, "here", "0.1", "600", "4", env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    )
    assert_finished(tmp_path, build, 4, lost=0)
    assert nodes.asked(tmp_path).total() == 8
