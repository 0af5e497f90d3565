"""Checkpoints are whole, verified, and readable without pickle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training import checkpoint
from training.checkpoint import TrainingError, complete, newest, replace_folder, save

ROOT = Path(__file__).parents[2]


def put(out: Path, step: int, keep: int = 9) -> Path:
    parts = {"model": {"weight": torch.full((3,), float(step))}, "optimizer": {}}
    return save(out, parts, {"step": step, "seconds": 1.5}, keep)


def test_the_newest_is_found_with_its_facts_and_tensors(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for step in (2, 10, 9):
        put(tmp_path, step)
    found = newest(tmp_path)
    assert found is not None and (found.step, found.facts["seconds"]) == (10, 1.5)
    assert torch.equal(found.tensors("model")["weight"], torch.full((3,), 10.0))
    assert found.has("model") and not found.has("average")


def test_a_damaged_one_is_passed_over_and_said(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        put(tmp_path, step)
    third, second = (tmp_path / "checkpoints" / f"step-0000000{n}" for n in (3, 2))
    data = bytearray((third / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (third / "model.safetensors").write_bytes(data)
    (second / "optimizer.safetensors").unlink()
    said: list[str] = []
    found = newest(tmp_path, said.append)
    assert found is not None and found.step == 1
    assert "model.safetensors changed" in said[0] and "can not be read" in said[1]
    put(tmp_path, 3)  # those steps come again, and their checkpoint replaces what is damaged
    found = newest(tmp_path)
    assert found is not None and found.step == 3


def test_only_the_newest_stay(tmp_path: Path) -> None:
    for step in range(5):
        put(tmp_path, step, keep=2)
    root = tmp_path / "checkpoints"
    assert sorted(path.name for path in root.iterdir()) == ["step-00000003", "step-00000004"]
    assert [path.name for path in complete(tmp_path)] == ["step-00000003", "step-00000004"]


CRASH = """
import os, sys
from pathlib import Path
import torch
from training import checkpoint
real, calls = getattr(os, sys.argv[2]), [0]
def die(*given):
    calls[0] += 1
    if calls[0] == int(sys.argv[3]):
        os._exit(9)
    return real(*given)
setattr(os, sys.argv[2], die)
parts = {"model": {"weight": torch.full((3,), 2.0)}}
checkpoint.save(Path(sys.argv[1]), parts, {"step": 2}, keep=1)
"""


CRASHES = (("fsync", 1, 1), ("replace", 1, 1), ("fsync", 4, 2), ("replace", 2, 2))


@pytest.mark.parametrize(("call", "times", "step"), CRASHES)
def test_a_crash_at_any_point_leaves_one_or_the_other(
    tmp_path: Path, call: str, times: int, step: int
) -> None:
    put(tmp_path, 1)
    words = [sys.executable, "-c", CRASH, str(tmp_path), call, str(times)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 9, done.stderr
    found = newest(tmp_path)
    assert found is not None and found.step == step
    put(tmp_path, 2, keep=1)
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert sorted(n for n in names if not n.startswith(".")) == ["step-00000002"]


def test_nothing_is_pickled(tmp_path: Path) -> None:
    folder = put(tmp_path, 1)
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    facts = json.loads((folder / "state.json").read_text())
    assert set(facts["files"]) == {"model.safetensors", "optimizer.safetensors"}


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("disk full")

    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "model").write_text("whole")
    with pytest.raises(OSError, match="disk full"):
        replace_folder(tmp_path / "good", fail)
    assert [path.name for path in (tmp_path / "good").iterdir()] == ["model"]
    replace_folder(tmp_path / "good", lambda folder: None)
    assert os.listdir(tmp_path) == ["good"] and not os.listdir(tmp_path / "good")


def test_what_differs_is_named(tmp_path: Path) -> None:
    checkpoint.check_same({"a": [1, 2]}, {"a": (1, 2)}, tmp_path)
    with pytest.raises(TrainingError, match=r"a 1 -> 2, b None -> 3"):
        checkpoint.check_same({"a": 1}, {"a": 2, "b": 3}, tmp_path)
