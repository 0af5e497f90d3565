"""What lives in a Ray worker: one loaded stage at a time, and what looks after the process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from grand_pipeline import disk, heap, memory
from grand_pipeline.annotations import publish_shard
from grand_pipeline.compiling import compile_layers
from grand_pipeline.errors import WorkerError
from grand_pipeline.lastwords import LastWords
from grand_pipeline.plan import Plan, Step
from grand_pipeline.poison import WHOLE, Turn
from grand_pipeline.stage import Limits
from grand_pipeline.storage import place
from grand_pipeline.store import Run
from grand_pipeline.worker import Outcome, annotate_shard

_SHARE = 0.9
"""Of the machine's memory, that one worker may hold where no limit is set."""
_GB = 2**30


class StageActor:
    """Annotates shard after shard. `words` is the file for what it leaves behind when it dies."""

    def __init__(self, root: str, token: str, words: str) -> None:
        heap.keep()
        self._run = Run(place(root))
        self._token = token
        self._place = Path(words)
        self._words: LastWords | None = None
        self._key = ""
        self._model: Any = None
        self._held = 0

    def annotate(self, step: Step, shard: str, turn: Turn = WHOLE) -> Outcome:
        """Annotate and commit one shard, or a part, loading the stage first if another was.

        Raises DiskError for what the run's disk can not do.
        """
        limits = step.stage.limits
        with disk.guarded(self._run.root):
            # Not sooner: of an actor that can not be made, Ray says that it died.
            words = self._words = self._words or LastWords(self._place)
        if step.key != self._key:
            self._load(step)

        def watch(images: Sequence[int], count: int) -> AbstractContextManager[None]:
            return words.about(images, count * limits.image_seconds)

        model = self._model
        with disk.guarded(self._run.root):
            outcome = annotate_shard(self._run, step, model, shard, self._token, turn, watch)
        return self._weighed(outcome, limits)

    def publish(self, plan: Plan, shard: str) -> Outcome:
        """Join and commit the published rows of one shard. Raises DiskError as `annotate`."""
        with disk.guarded(self._run.root):
            outcome = publish_shard(self._run, plan, shard, self._token)
        return self._weighed(outcome, Limits())

    def _load(self, step: Step) -> None:
        memory.unbound()
        self._model, self._key, self._held = None, "", 0
        device = pick_device(step.stage.device)
        self._model = step.stage.load(device)
        if step.stage.compile:
            compile_layers(self._model)
        self._key = step.key
        heap.settle()
        if device == "cpu":  # What drivers of GPUs ask for in main memory says little.
            _bound(step)

    def _weighed(self, outcome: Outcome, limits: Limits) -> Outcome:
        """The outcome, with a word on whether this process should make room for a fresh one.

        What it holds after its first shard is what the model needs; more later is a leak.
        """
        held = memory.resident()
        self._held = self._held or held
        return replace(outcome, worn=held - self._held > limits.growth_gb * _GB)


def _bound(step: Step) -> None:
    """Keep the process within the stage's limit. Raises WorkerError when it is beyond already."""
    asked = step.stage.limits.memory_gb
    limit = asked * _GB if asked else _SHARE * memory.machine()
    if memory.resident() >= limit:
        raise WorkerError(
            f"a worker with '{step.key}' loaded holds {memory.resident() / _GB:.2f} GB before its "
            f"first image, and may hold {limit / _GB:.2f} GB; raise {step.key}.limits.memory_gb"
        )
    memory.bound(int(limit))


def pick_device(wanted: str) -> str:
    """The device of this worker: "auto" is "cuda" where Ray gave it a GPU, else "cpu"."""
    if wanted != "auto":
        return wanted
    import ray

    return "cuda" if ray.get_gpu_ids() else "cpu"
