"""Tiny backbones: made once per configuration, loaded as any others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.tiny import xvlm
from training.models import backbones
from training.models.backbones import Budget
from training.models.xvlm.network import Xvlm, swin_config
from training.models.xvlm.start import bert_config, start

BUDGET = Budget(steps=2, batch_size=2, lr=1e-3, scenes=3)
SIZES = replace(xvlm.SIZES, vocabulary=backbones.vocabulary(), positions=40)


def test_a_backbone_is_made_once_and_fits(tmp_path: Path) -> None:
    vision = backbones.swin_folder(swin_config(SIZES), BUDGET, tmp_path)
    text = backbones.bert_folder(bert_config(SIZES), BUDGET, tmp_path)
    model = Xvlm(SIZES)
    start(model, str(vision), str(text))
    stamp = (vision / "model.safetensors").stat().st_mtime_ns
    assert backbones.swin_folder(swin_config(SIZES), BUDGET, tmp_path) == vision
    assert (vision / "model.safetensors").stat().st_mtime_ns == stamp
    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == ["bert-", "swin-"]


def test_another_budget_is_another_backbone(tmp_path: Path) -> None:
    first = backbones.bert_folder(bert_config(SIZES), BUDGET, tmp_path)
    longer = replace(BUDGET, steps=3)
    assert backbones.bert_folder(bert_config(SIZES), longer, tmp_path) != first
