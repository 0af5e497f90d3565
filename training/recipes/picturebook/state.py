"""A run of a training as files: its state, its schedule, its log.

A run is a folder: `state.safetensors` (model, EMA, optimizer moments; its header holds the
step and the seconds spent), `state.json` (the same figures and the schedule, readable) and
`log.jsonl`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from grand_pipeline.errors import GrandError

STATE, SUMMARY, LOG = "state.safetensors", "state.json", "log.jsonl"


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


class TrainingError(GrandError):
    """A run that cannot go on: not-a-number losses, a state of another model or budget."""


@dataclass
class Progress:
    """Where a run stands: steps done and seconds of training, summed over resumes."""

    step: int = 0
    seconds: float = 0.0

    def fraction(self, schedule: Schedule) -> float:
        """Spent part of the budget, 0 to 1."""
        return min(1.0, self.step / max(schedule.steps, 1))


def restore(model: nn.Module, out: Path) -> Progress:
    """Load the averaged weights of the last saved state of `out` into `model`."""
    path = out / STATE
    if not path.is_file():
        raise TrainingError(f"no training state in {out}: expected {STATE}; train first")
    with safe_open(path, framework="pt") as state:
        model.load_state_dict(
            {name: state.get_tensor(f"ema.{name}") for name in model.state_dict()}
        )
        metadata = state.metadata()
    model.eval()
    return Progress(int(metadata["step"]), float(metadata["seconds"]))


def finished(schedule: Schedule, out: Path) -> bool:
    """Whether `out` holds a run of this schedule that has spent its budget."""
    path = out / SUMMARY
    saved = json.loads(path.read_text()) if path.is_file() else {}
    return saved.get("schedule") == asdict(schedule) and saved["step"] >= schedule.steps


def check_schedule(schedule: Schedule, out: Path) -> None:
    """Raise TrainingError when the run in `out` was begun with another schedule."""
    path = out / SUMMARY
    if path.is_file() and (saved := json.loads(path.read_text())["schedule"]) != asdict(schedule):
        wanted = asdict(schedule)
        odd = [f"{k} {saved.get(k)} -> {v}" for k, v in wanted.items() if saved.get(k) != v]
        raise TrainingError(
            f"the run in {out} was begun with another schedule ({', '.join(odd) or 'older form'}); "
            "use another folder, or delete that one to train from nothing"
        )


def save(
    model: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.AdamW,
    progress: Progress,
    schedule: Schedule,
    out: Path,
) -> None:
    """Write the state: whole, or the one before stays."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"ema.{name}": value for name, value in average.items()}
    for name, parameter in _named(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}.{name}"] = value
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    metadata = {"step": str(progress.step), "seconds": str(progress.seconds)}
    temporary = out / f"{STATE}.tmp"
    save_file(tensors, temporary, metadata=metadata)
    os.replace(temporary, out / STATE)
    readable = {**asdict(progress), "schedule": asdict(schedule)}
    replace_text(out / SUMMARY, json.dumps(readable, indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text file, all of it or nothing."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def cut_log(out: Path, step: int) -> None:
    """Drop what a killed run logged after its last saved state: those steps come again."""
    path = out / LOG
    if path.is_file():
        # The last line of a killed run may be cut off; a whole one ends with a brace.
        rows = [r for r in path.read_text().splitlines() if r.endswith("}")]
        kept = [r for r in rows if json.loads(r)["step"] <= step]
        replace_text(path, "".join(f"{row}\n" for row in kept))


def resume(
    model: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.AdamW, out: Path
) -> Progress:
    """Load the saved state, if any, into model, average and optimizer."""
    path = out / STATE
    if not path.is_file():
        return Progress()
    with safe_open(path, framework="pt") as state:
        held = set(state.keys())
        wanted = {f"model.{name}" for name in average}
        if not wanted <= held:
            raise TrainingError(
                f"{path} holds another model: it lacks {sorted(wanted - held)[:3]}; "
                "use another output folder"
            )
        model.load_state_dict({n: state.get_tensor(f"model.{n}") for n in average})
        for name, value in average.items():
            value.copy_(state.get_tensor(f"ema.{name}"))
        for name, parameter in _named(optimizer):
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"{key}.{name}" in held:
                    value = state.get_tensor(f"{key}.{name}")
                    optimizer.state[parameter][key] = value.to(parameter.device)
        metadata = state.metadata()
    return Progress(int(metadata["step"]), float(metadata["seconds"]))


def _named(optimizer: torch.optim.AdamW) -> Iterator[tuple[str, nn.Parameter]]:
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)


def log(out: Path, progress: Progress, schedule: Schedule, terms: dict[str, float]) -> None:
    """Append a row to the log of a run, and print it."""
    row: dict[str, float] = {
        "step": progress.step,
        "images": progress.step * schedule.batch_size,
        "minutes": round(progress.seconds / 60, 3),
    }
    row |= {name: round(value, 6) for name, value in terms.items()}
    with (out / LOG).open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(" ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
