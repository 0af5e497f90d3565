"""A recipe under Ray Train: its processes placed on a cluster, started again when one dies.

Ray Train starts the workers and their process group, and starts all of them again when one is
lost; each then runs the recipe's own `main(config)`, which goes on at the newest complete
checkpoint in `config.out`. Ray's own reports of checkpoints are not used: they are collected in the
background, and the one before a death can be lost, while a folder under its final name in
`config.out` is on the disk. So `config.out` and the run must be at the same path for all nodes.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from grand_pipeline.errors import GrandError, MissingDependencyError, UserError
from training import catalog

STORAGE = "ray"
"""Folder in `config.out` where Ray Train keeps its own notes."""


class WorkersError(GrandError):
    """The workers of a training failed more often than was allowed."""


def run(
    recipe: str, config: Any, *, workers: int, address: str | None = None, retries: int = 3
) -> None:
    """Run a recipe's `main(config)` in `workers` processes, one GPU each where there are enough.

    `address`: a Ray cluster; None starts Ray here. A lost or failed worker starts all of them
    again, `retries` times.

    Raises:
        MissingDependencyError: Ray Train is not installed.
        UserError: the cluster has fewer CPUs than `workers`.
        WorkersError: the workers failed once more than `retries`; says how.
    """
    ray, train, torch_train = _imported()
    begun = not ray.is_initialized()
    if begun:
        ray.init(address, log_to_driver=True, include_dashboard=False)
    try:
        there = ray.cluster_resources()
        if there.get("CPU", 0) < workers:
            raise UserError(
                f"{workers} workers need a CPU each, and the cluster has {there.get('CPU', 0):g}; "
                "ask for fewer with --workers"
            )
        trainer = torch_train.TorchTrainer(
            _work,
            train_loop_config={"module": catalog.recipe(recipe).__name__, "config": config},
            scaling_config=train.ScalingConfig(
                num_workers=workers, use_gpu=there.get("GPU", 0) >= workers
            ),
            run_config=train.RunConfig(
                name=recipe,
                storage_path=str(Path(config.out) / STORAGE),
                failure_config=train.FailureConfig(max_failures=retries),
            ),
        )
        trainer.fit()
    except train.TrainingFailedError as error:
        raise WorkersError(
            f"the workers of '{recipe}' failed more than {retries} times; the last: "
            f"{_reason(error)}. Checkpoints in {config.out} are intact: run it again to go on"
        ) from error
    finally:
        if begun:
            ray.shutdown()


def _work(given: dict[str, Any]) -> None:
    """What every worker does."""
    importlib.import_module(given["module"]).main(given["config"])


def _imported() -> tuple[Any, Any, Any]:
    # Its usage questions and deprecation notices are not for the user of a recipe.
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray
        import ray.train
        import ray.train.torch
    except ImportError as error:
        raise MissingDependencyError(
            f"training on a Ray cluster needs a package that is not installed ({error}): "
            "pip install 'grand-pipeline[ray-train]'; without --workers a recipe needs no Ray"
        ) from error
    return ray, ray.train, ray.train.torch


def _reason(error: BaseException) -> str:
    """The last line that says something of a failure that Ray reports."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
