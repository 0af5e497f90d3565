"""Checkpoints of a training: whole or not there, verified when read, no pickle.

    OUT/checkpoints/step-00000200/
        model.safetensors       weights as they are trained
        average.safetensors     their moving average, where one is kept
        optimizer.safetensors   moments, as `<moment>.<parameter>`
        state.json              step, seconds, position in the data, what was asked; the sizes and
                                digests of the files above

A checkpoint is written into a hidden folder, flushed to the disk file by file, and renamed: the
name is the marker that it is complete, and the digests prove it when it is read. Random generators
are seeded anew in every step (training/loop.py), so they have no state to keep.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from grand_pipeline.errors import GrandError

FOLDER, STATE = "checkpoints", "state.json"
_STEP, _HIDDEN = "step-", "."


class TrainingError(GrandError):
    """A run that can not go on: losses that are no numbers, a state of another model or budget."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its folder and what its `state.json` says beside the digests."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.facts["step"])

    def has(self, part: str) -> bool:
        """Whether tensors were kept under this name."""
        return (self.folder / f"{part}.safetensors").is_file()

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of "model", "average" or "optimizer" by name, on the CPU.

        Raises TrainingError for a file that holds none.
        """
        path = self.folder / f"{part}.safetensors"
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"'{path}' holds no tensors ({error}); delete the folder to go on from the "
                "checkpoint before it"
            ) from error


def save(
    out: Path, parts: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any], keep: int
) -> Path:
    """Write the checkpoint of step `facts["step"]`; once this returns, a power cut can not lose it.

    Afterwards only the newest `keep` are left. A complete checkpoint of the same step stays.
    """
    folder = out / FOLDER / f"{_STEP}{facts['step']:08d}"

    def write(target: Path) -> None:
        for part, tensors in parts.items():
            # Tied weights share memory, which the format refuses; each is written by itself.
            own = {name: value.detach().cpu().clone() for name, value in tensors.items()}
            own = {name: value.contiguous() for name, value in own.items()}
            save_file(own, target / f"{part}.safetensors")
        files = {path.name: _seal(path) for path in sorted(target.iterdir())}
        (target / STATE).write_text(json.dumps({**facts, "files": files}, indent=2) + "\n")

    if _damage(folder):
        replace_folder(folder, write)
    for old in complete(out)[: -max(keep, 1)]:
        hidden = old.with_name(f"{_HIDDEN}{old.name}.{uuid.uuid4().hex}")
        os.replace(old, hidden)
        shutil.rmtree(hidden, ignore_errors=True)
    return folder


def newest(out: Path, say: Callable[[str], None] = print) -> Checkpoint | None:
    """The newest checkpoint of a run that is complete and undamaged; None where there is none.

    `say` is told of every damaged one that was passed over.
    """
    for folder in reversed(complete(out)):
        if fault := _damage(folder):
            say(f"checkpoint {folder} is passed over: {fault}")
            continue
        return Checkpoint(folder, json.loads((folder / STATE).read_text("utf-8")))
    return None


def complete(out: Path) -> list[Path]:
    """Folders of the complete checkpoints of a run, oldest first; contents are not read."""
    root = out / FOLDER
    found = root.glob(f"{_STEP}*") if root.is_dir() else ()
    return sorted(path for path in found if (path / STATE).is_file())


def check_same(saved: Mapping[str, Any], wanted: Mapping[str, Any], out: Path) -> None:
    """Raise TrainingError when the run in `out` was begun with other settings than `wanted`."""
    wanted = json.loads(json.dumps(wanted))
    if saved == wanted:
        return
    keys = sorted(saved.keys() | wanted.keys())
    odd = [f"{k} {saved.get(k)} -> {wanted.get(k)}" for k in keys if saved.get(k) != wanted.get(k)]
    raise TrainingError(
        f"the run in {out} was begun with other settings ({', '.join(odd)}); "
        "use another folder, or delete that one to train from nothing"
    )


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a new folder with `write` and put it in the place of `folder`: all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{_HIDDEN}{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    token = uuid.uuid4().hex
    temporary, old = (
        folder.with_name(f"{_HIDDEN}{folder.name}.{token}.{word}") for word in ("new", "old")
    )
    temporary.mkdir()
    write(temporary)
    for path in temporary.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # weights are written for the owner alone
        _flush(path)
    _flush(temporary)
    if folder.exists():
        os.replace(folder, old)
    os.replace(temporary, folder)
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, all of it or nothing."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, "utf-8")
    _flush(temporary)
    os.replace(temporary, path)
    _flush(path.parent)


def _seal(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _damage(folder: Path) -> str:
    """What is wrong with a checkpoint; empty when nothing is."""
    if not (folder / STATE).is_file():
        return f"it has no {STATE}"
    try:
        facts = json.loads((folder / STATE).read_text("utf-8"))
        if folder.name != f"{_STEP}{int(facts['step']):08d}":
            return f"it says that it is of step {facts['step']}"
        seals = {Path(name).name: seal for name, seal in facts["files"].items()}
        wrong = [name for name, seal in seals.items() if _seal(folder / name) != seal]
    except Exception as error:  # anything may stand in it
        return f"it can not be read ({error})"
    return f"{', '.join(wrong)} changed since written" if wrong else ""


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
