"""A folder that loads with one call, and what is said of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grand_pipeline.errors import SettingsError
from tests.tiny import groupvit
from training.models.groupvit import export


@pytest.mark.parametrize("groups", [(), (6, 3)])
def test_what_is_saved_is_loaded(tmp_path: Path, groups: tuple[int, ...]) -> None:
    sizes = replace(groupvit.SIZES, depths=(1,) * (len(groups) + 1), groups=groups)
    made = groupvit.trained(sizes)
    export.save(tmp_path / "model", made)
    again = export.load(tmp_path / "model")
    assert again.reading == made.reading and again.model.sizes == sizes
    shown = groupvit.pixels(1)
    torch.testing.assert_close(
        again.model.vision(shown).features, made.model.vision(shown).features
    )
    assert again.tokenizer("a cat")["input_ids"] == made.tokenizer("a cat")["input_ids"]


def test_another_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no GroupViT"):
        export.load(tmp_path)
