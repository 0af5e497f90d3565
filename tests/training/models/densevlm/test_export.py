"""What is saved is what is loaded; what is no model is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from grand_pipeline.errors import SettingsError
from tests.tiny import densevlm as tiny
from training.models.densevlm import export
from training.models.densevlm.export import Trained


def test_a_model_comes_back_with_one_call(tmp_path: Path) -> None:
    trained = Trained(tiny.tower(), 32, ("ball", "box"), ("sky",), torch.randn(3, 6))
    export.save(tmp_path / "model", trained)
    again = export.load(tmp_path / "model")
    assert (again.side, again.names) == (32, ("ball", "box", "sky"))
    assert torch.equal(again.texts, trained.texts)
    with torch.no_grad():
        seen = (one.tower.dense(tiny.pixels(1)) for one in (again, trained))
        torch.testing.assert_close(*seen)
    assert not again.tower.training


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no DenseVLM"):
        export.load(tmp_path)
    (tmp_path / "config.json").write_text('{"tower": {"kind": "resnet"}}')
    with pytest.raises(SettingsError, match="no tower is of the kind 'resnet'"):
        export.load(tmp_path)
