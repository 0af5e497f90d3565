"""Presets, `--set` values and checkpoints of trainings with anything in them: an error that says
where, or a value that is only a text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from grand_pipeline import settings
from grand_pipeline.errors import SettingsError
from training import checkpoint
from training.checkpoint import TrainingError

PRESETS: dict[str, bytes] = {
    "latin": b"[preset]\ndescription = '\xe9'\n",
    "utf-16": "[preset]".encode("utf-16"),
    "deep": b"[tags.x]\nlabels = " + b"[" * 5000,
    "deep tables": b"[preset]\na = " + b"{a=" * 5000,
    "preset": b"preset = 3\n",
    "lists": b"lists = 'x'\n",
    "substitutions": b"[preset]\nsubstitutions = 5\n",
    "substitution": b"[preset]\nsubstitutions = [5]\n",
    "stage": b"tags = 1\n",
    "source": b"[tags]\nx = 1\n",
    "unknown": b"['../../evil'.x]\na = 1\n",
    "date": b"[tags.x]\nlabels = ['dog']\nmodel = 1979-05-27\n",
    "number": b"[tags.x]\nlabels = ['dog']\nmodel = 'm'\nbatch_size = 1e400\n",
    "nan": b"[tags.x]\nlabels = ['dog']\nmodel = 'm'\nthreshold = nan\n",
    "twice": b"[preset]\n[preset]\n",
    "nul": b"[preset]\ndescription = '\x00'\n",
}


@pytest.mark.parametrize("case", sorted(PRESETS))
def test_a_preset_that_is_none_is_one_clear_error(tmp_path: Path, case: str) -> None:
    path = tmp_path / "evil.toml"
    path.write_bytes(PRESETS[case])
    with pytest.raises(SettingsError):
        settings.stages(settings.load_preset(str(path)))


def test_a_preset_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(SettingsError, match=r"cannot read preset file '.*folder\.toml'"):
        settings.load_preset(str(tmp_path / "folder.toml"))


ASSIGNMENTS = [
    "tags.siglip.model.x=1",
    "tags.siglip.batch_size=" + "[" * 5000,
    "tags.siglip.batch_size=1e400",
    "tags.siglip.threshold=nan",
    "tags.siglip.labels={a=1}",
    "tags.siglip.model=1979-05-27",
    "tags.siglip.__class__=1",
    "tags.siglip.=1",
    "=",
    "\x00",
]


@pytest.mark.parametrize("text", ASSIGNMENTS, ids=range(len(ASSIGNMENTS)))
def test_an_assignment_of_nonsense_is_one_clear_error(text: str) -> None:
    with pytest.raises(SettingsError):
        settings.stages(settings.override(settings.load_preset("picturebook"), [text]))


def saved(out: Path, step: int) -> Path:
    parts = {"model": {"weight": torch.zeros(2)}}
    return checkpoint.save(out, parts, {"step": step, "asked": {}}, keep=5)


STATES: dict[str, object] = {
    "list": [],
    "nothing": {},
    "files": {"step": 2, "files": []},
    "outside": {"step": 2, "files": {"../../../x": {"bytes": 1, "sha256": ""}}},
    "other step": {"step": 7, "files": {}},
    "no step": {"files": {}},
    "endless": {"step": float("inf"), "files": {}},
    "text": {"step": "x", "files": {}},
}


@pytest.mark.parametrize("case", sorted(STATES))
def test_a_state_of_nonsense_is_passed_over(tmp_path: Path, case: str) -> None:
    saved(tmp_path, 1)
    (saved(tmp_path, 2) / checkpoint.STATE).write_text(json.dumps(STATES[case]))
    said: list[str] = []
    found = checkpoint.newest(tmp_path, said.append)
    assert found is not None and found.step == 1
    assert len(said) == 1 and "is passed over" in said[0]


def test_a_deep_state_is_passed_over(tmp_path: Path) -> None:
    (saved(tmp_path, 2) / checkpoint.STATE).write_text("[" * 100_000)
    said: list[str] = []
    assert checkpoint.newest(tmp_path, said.append) is None and len(said) == 1


def test_sealed_nonsense_is_one_clear_error(tmp_path: Path) -> None:
    folder = saved(tmp_path, 1)
    (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n.")
    facts = json.loads((folder / checkpoint.STATE).read_text())
    facts["files"]["model.safetensors"] = checkpoint._seal(folder / "model.safetensors")
    (folder / checkpoint.STATE).write_text(json.dumps(facts))
    found = checkpoint.newest(tmp_path)
    assert found is not None
    with pytest.raises(TrainingError, match="holds no tensors"):
        found.tensors("model")
