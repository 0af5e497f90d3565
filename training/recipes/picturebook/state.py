"""What a phase of a training is asked, and what the folder of its run says of it.

A run is a folder as every training's: checkpoints and `log.jsonl` (training/checkpoint.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from training import checkpoint
from training.checkpoint import TrainingError

_OLD_STATE, _OLD_SUMMARY = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Schedule:
    """Length and optimizer of a run."""

    steps: int
    batch_size: int
    lr: float
    warmup: int = 100
    weight_decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    bf16: bool = True  # mixed precision, where the device has bfloat16


@dataclass
class Progress:
    """Where a run stands: steps done and seconds of training, summed over resumes."""

    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Place:
    """Position in the data of a recipe, whose batches are numbered by their steps."""

    step: int = 0


def restore(model: nn.Module, out: Path) -> Progress:
    """Load the averaged weights of the last checkpoint of `out` into `model`.

    Raises TrainingError when there is none.
    """
    adopt(out)
    saved = checkpoint.newest(out)
    if saved is None:
        raise TrainingError(f"no checkpoint of a training in {out}; train first")
    model.load_state_dict(saved.tensors("average"))
    model.eval()
    return Progress(saved.step, float(saved.facts["seconds"]))


def finished(schedule: Schedule, out: Path) -> bool:
    """Whether `out` holds a run of this schedule that has spent its budget."""
    adopt(out)
    saved = checkpoint.newest(out)
    return (
        saved is not None
        and saved.facts["asked"] == asdict(schedule)
        and saved.step >= schedule.steps
    )


def adopt(out: Path) -> None:
    """Turn the state of a run that was begun before there were checkpoints into one.

    It was one file of tensors, `model.NAME`, `ema.NAME` and `<moment>.NAME`, beside a summary.
    """
    old = out / _OLD_STATE
    if not old.is_file():
        return
    summary = json.loads((out / _OLD_SUMMARY).read_text())
    held = load_file(old)
    named = {"model": "model.", "average": "ema."}
    parts = {
        part: {k.removeprefix(head): v for k, v in held.items() if k.startswith(head)}
        for part, head in named.items()
    }
    heads = tuple(named.values())
    parts["optimizer"] = {name: v for name, v in held.items() if not name.startswith(heads)}
    step = summary["step"]
    facts = {"step": step, "seconds": summary["seconds"], "waited": 0.0}
    facts |= {"position": asdict(Place(step)), "asked": summary["schedule"]}
    checkpoint.save(out, parts, facts, keep=1)
    old.unlink()
    (out / _OLD_SUMMARY).unlink()
