"""What is saved is what is loaded; what is no model is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from grand_pipeline.errors import SettingsError
from tests.tiny import words, xvlm
from training.models.xvlm import export
from training.models.xvlm.export import Trained


def test_a_model_comes_back_with_one_call(tmp_path: Path) -> None:
    trained = Trained(xvlm.network(), words.bert_tokenizer(), 12, "inclusive")
    export.save(tmp_path / "model", trained)
    again = export.load(tmp_path / "model")
    assert (again.tokens, again.pixels, again.model.sizes) == (12, "inclusive", xvlm.SIZES)
    assert again.tokenizer("a red cat")["input_ids"] == trained.tokenizer("a red cat")["input_ids"]
    torch.testing.assert_close(again.model.see(xvlm.pixels(1)), trained.model.see(xvlm.pixels(1)))
    assert not again.model.training


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no X-VLM"):
        export.load(tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": {"width": 3}}')
    with pytest.raises(SettingsError, match="has no option 'width'"):
        export.load(tmp_path)
