"""What is said when Ray can not be reached or started, and when its head is silent."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from grand_pipeline import cluster
from grand_pipeline.errors import ClusterError, UserError
from grand_pipeline.plan import make_plan
from tests.fakes import Brightness

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray warns on its own


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense", "a:b"])
def test_an_address_without_a_ray_is_refused(address: str) -> None:
    plan = make_plan([Brightness()])
    with (
        pytest.raises(UserError, match=f"no Ray cluster at '{address}': .*give --address auto"),
        cluster.connected(address, plan),
    ):
        pass


UNUSABLE = """
import os, sys
from grand_pipeline import cluster
from grand_pipeline.errors import ClusterError
from grand_pipeline.plan import make_plan
from tests.fakes import Brightness
for folder in sys.argv[1:]:
    os.environ["RAY_TMPDIR"] = folder
    try:
        with cluster.connected(None, make_plan([Brightness()])):
            pass
    except ClusterError as error:
        print(error)
"""


def test_a_ray_that_can_not_start_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", UNUSABLE, str(long), "/dev/null"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    too_long, no_folder = done.stdout.splitlines()
    assert "can not be started on this machine: " in too_long
    assert "AF_UNIX path length" in too_long
    assert f"logs in '{long}', which must be a folder" in too_long
    assert "Not a directory" in no_folder
    assert "RAY_TMPDIR names another" in no_folder


def test_a_silent_head_is_an_error_and_what_others_say_comes_through() -> None:
    assert cluster.answered(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        cluster.answered(lambda: 1 / 0)
    with pytest.raises(TimeoutError, match="its own"):
        cluster.answered(_late)
    never = threading.Event()
    try:
        with pytest.raises(ClusterError, match=r"has not answered for 1 s: .*build again"):
            cluster.answered(never.wait, seconds=1)
    finally:
        never.set()


def _late() -> None:
    raise TimeoutError("its own")


ENDED = """
import os, sys
from grand_pipeline import cluster
with cluster.obituary():
    if sys.argv[1] == "ended":
        os._exit(1)
"""


@pytest.mark.parametrize("how", ["ended", "orderly"])
def test_a_process_that_ray_ends_has_its_end_told(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDED, how],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == (how == "ended")
    assert ("What was committed is kept: build again" in done.stderr) == (how == "ended")
