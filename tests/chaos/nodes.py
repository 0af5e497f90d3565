"""Clusters of small nodes on this machine, and builds that use them by their address."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grand_pipeline import cluster, lock, runner
from grand_pipeline.errors import GrandError
from grand_pipeline.plan import make_plan
from grand_pipeline.record import Record
from grand_pipeline.stage import Row
from grand_pipeline.store import Run
from tests.chaos import fakes
from tests.chaos.fakes import SHARD_SIZE, build_alone, fake_plan
from tests.chaos.torment import calls
from tests.fakes import SMALL, Brightness, Caption, Graph, note

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
STORE = 80 << 20  # bytes; Ray's least
QUICK = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
"""Ray's settings for a head that misses a node after seconds."""
WORKERS_PER_CPU = 2
NOTING_STAGES = 2


@dataclass(frozen=True, kw_only=True)
class Placed(Brightness):
    """Notes on which node it was called, and takes its time."""

    calls: str = ""

    def annotate(self, model: float, records: Sequence[Record]) -> list[Row]:
        import ray

        node = ray.get_runtime_context().get_node_id()
        note(self.calls, f"{self.key}@{node}", [record.image_id for record in records])
        return super().annotate(model, records)


def build(
    folder: str, address: str, seconds: str, patience: str = "600", images: str = "24"
) -> None:
    """What `grand build` does in `folder`, with every image taking `seconds` once."""
    root, log = Path(folder) / "run", str(Path(folder) / "calls")
    slow = Placed(calls=log, seconds=float(seconds), batch_size=1, resources=SMALL)
    plan = make_plan([slow, Caption(log=log, resources=SMALL), Graph(resources=SMALL)])
    pictures = fakes.draw(Path(folder) / "pictures", range(int(images)))
    try:
        with lock.hold(root) as token:
            run = fakes.ingested(root, [pictures])
            with cluster.connected(None if address == "here" else address, plan):
                done = runner.up_to_date(run, plan)
                runner.execute(run, plan, done, token, lambda _: None, print, float(patience))
    except GrandError as error:
        print(f"grand: {error}")
        sys.exit(error.exit_code)


def building(
    folder: Path, *arguments: str, inside: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process that builds; what it says goes to `folder/output`. `inside` begins its command."""
    code = "import sys; from tests.chaos.nodes import build; build(*sys.argv[1:])"
    command = [*inside, sys.executable, "-u", "-c", code, str(folder), *arguments]
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, env=None if env is None else dict(env)
        )


def said(folder: Path) -> str:
    """What the builds in `folder` have said."""
    return (folder / "output").read_text()


def asked(folder: Path) -> Counter[str]:
    """Stage, node and image -> how often the image was given to the stage there."""
    return calls(folder / "calls")


def busy(folder: Path, node: str, than: int = 0) -> bool:
    """Whether the node has been given more images than that."""
    log = folder / "calls"
    return log.exists() and log.read_text().count(f"@{node}") > than


def assert_finished(folder: Path, build: subprocess.Popen[bytes], images: int, lost: int) -> None:
    """The build ends well, its run is that of an undisturbed one, and at most `lost` images were
    given to a stage once more."""
    code = build.wait(timeout=300)
    assert code == 0, said(folder)[-3000:]
    run = Run.open(folder / "run")
    ids = [row.image_id for row in run.images()]
    assert len(ids) == len(set(ids)) == images
    fakes.assert_whole(run.root)
    build_alone(folder / "alone", [folder / "pictures"], fake_plan())
    assert list(run.annotations()) == list(Run(folder / "alone").annotations())
    total, least = asked(folder).total(), images * NOTING_STAGES
    print(f"calls {total} of at least {least}, at most {lost} more")
    assert least <= total <= least + lost


def in_flight(cpus: int) -> int:
    """Images that nodes with so many CPUs can have in work at a time."""
    return cpus * WORKERS_PER_CPU * SHARD_SIZE


@contextmanager
def head(cpus: int) -> Iterator[Any]:
    """A cluster of one node; `add` adds others."""
    from ray.cluster_utils import Cluster

    # A short name, for Ray's sockets.
    folder = tempfile.mkdtemp(prefix="ray-")
    started = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": STORE,
            "temp_dir": folder,
            "_system_config": QUICK,
        },
    )
    try:
        yield started
    finally:
        started.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def add(started: Any, cpus: int) -> Any:
    """A node more."""
    return started.add_node(num_cpus=cpus, object_store_memory=STORE)


def remove(started: Any, node: Any) -> None:
    """The node is gone from one moment to the next."""
    started.remove_node(node, allow_graceful=False)


def kill(node: Any, kind: str) -> None:
    """SIGKILL for a process of a node, for example its "raylet"."""
    node.all_processes[kind][0].process.send_signal(signal.SIGKILL)


def wait_until(holds: Callable[[], object], folder: Path, seconds: float = 120.0) -> None:
    """Return as soon as `holds()` does; fail with what the build has said when it does not."""
    try:
        fakes.wait_until(holds, seconds)
    except AssertionError:
        raise AssertionError(f"waited in vain; the build said: {said(folder)[-3000:]}") from None


def here(command: Sequence[str]) -> None:
    """Run a command to its end."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
