"""The doctor answers fast, starts nothing and names a remedy for whatever is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from grand_pipeline import doctor
from tests.stages.chat.fake_vllm import VERSION, environment


def test_checks_of_this_machine(tmp_path: Path) -> None:
    found = {check.name: check for check in doctor.checks(tmp_path / "not" / "yet")}
    assert {"python", "torch", "gpu", "transformers", "ray", "disk", "checkpoints"} <= set(found)
    assert found["python"].ok
    assert found["torch"].ok
    assert str(tmp_path) in found["disk"].detail
    assert all(check.detail for check in found.values())
    assert all(check.remedy for check in found.values() if not check.ok)
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()


def test_text_keeps_remedies_whole() -> None:
    lost = doctor.Check("gpu", False, "none", "pip install 'grand-pipeline[gpu]'")
    lines = doctor.text([doctor.Check("python", True, "3.11"), lost]).splitlines()
    assert lines[0].split() == ["ok", "python", "3.11"]
    assert lines[1].split() == ["NO", "gpu", "none"]
    assert lines[2].endswith("-> pip install 'grand-pipeline[gpu]'")


def checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    save_file({"weight": np.zeros((8, 8), np.float32)}, str(folder / "model.safetensors"))
    return folder


def test_whole_checkpoints_are_listed_with_their_size(tmp_path: Path) -> None:
    checkpoint(tmp_path / "owl")
    (tmp_path / "spacy").mkdir()
    (tmp_path / "spacy" / "meta.json").write_text("{}")
    check = doctor._checkpoints(tmp_path, {"owl", "spacy"})
    assert check.ok
    assert "owl, spacy" in check.detail


def test_a_torn_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint(tmp_path / "good")
    weights = checkpoint(tmp_path / "torn") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-16])
    (checkpoint(tmp_path / "lost") / "model.safetensors").unlink()
    check = doctor._checkpoints(tmp_path, {"good", "absent"})
    assert not check.ok
    assert check.detail == "incomplete: lost, torn; missing: absent"
    assert check.remedy


def test_no_checkpoints_at_all(tmp_path: Path) -> None:
    assert not doctor._checkpoints(tmp_path / "nothing", ()).ok


def test_a_vllm_is_looked_at_where_asked(tmp_path: Path) -> None:
    good = doctor._vllm(environment(tmp_path / "good"))
    assert (good.ok, good.detail) == (True, f"{VERSION} in {tmp_path / 'good'}")
    bad = doctor._vllm(tmp_path / "absent")
    assert not bad.ok and "no Python environment" in bad.detail
    assert bad.remedy == f"grand models vllm-env {tmp_path / 'absent'}"


def test_a_folder_that_can_not_be_written_is_no_disk() -> None:
    check = doctor._disk(Path("/proc/nothing"))
    assert not check.ok
    assert check.remedy
