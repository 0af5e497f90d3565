"""The machines that a plan runs on: this one, or the nodes of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grand_pipeline import memory
from grand_pipeline.plan import Plan, check_fits, without_gpus
from grand_pipeline.stage import Resources


def this_machine() -> Resources:
    """CPUs, GPUs and memory of this machine, without importing torch or starting Ray."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return Resources(len(os.sched_getaffinity(0)), gpus, memory.machine() / 2**30)


def alive_nodes() -> dict[str, Resources]:
    """Node id -> what it has in all, for the nodes of the cluster that are alive."""
    import ray

    return {
        node["NodeID"]: Resources(
            node["Resources"].get("CPU", 0),
            node["Resources"].get("GPU", 0),
            node["Resources"].get("memory", 0) / 2**30,
        )
        for node in ray.nodes()
        if node["Alive"]
    }


@contextmanager
def connected(address: str | None, plan: Plan) -> Iterator[None]:
    """A Ray that can hold `plan`: the cluster at `address`, or one of this machine's own.

    Raises PlanError when the cluster is too small. One that is connected already is left as it is.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "include_dashboard": False, "logging_level": "ERROR"}
    if address is None:
        machine = this_machine()
        # Ray sets a third of the memory aside, and a stage that fits here would find no place.
        whole = int(machine.memory_gb * 2**30)
        ray.init(num_cpus=int(machine.cpus), num_gpus=int(machine.gpus), _memory=whole, **quiet)
    else:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        nodes = list(alive_nodes().values())
        check_fits(without_gpus(plan, nodes), nodes)
    try:
        yield
    finally:
        ray.shutdown()
