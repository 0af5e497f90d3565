"""Scores of a model whose groups are made by rule, and the pictures that are drawn of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from grand_pipeline.columns import PublishedObject
from tests.tiny import groupvit
from tests.training.data import made
from training.data.rows import Row
from training.models.groupvit import pictures
from training.models.groupvit.network import GroupVit, Seen
from training.models.groupvit.scores import classes_of, scores, target

SKY = replace(made.thing(0, (0, 0, 64, 24), "sky"), kind="stuff")
BOX = made.thing(1, (0, 24, 32, 48), "box")
CAT = made.thing(2, (32, 24, 64, 48), "cat")


def _row(*objects: PublishedObject) -> Row:
    return made.row(replace(made.annotation(objects=objects), phrases=(), relations=()))


class _Quarters(torch.nn.Module):
    """Sees three groups: the upper half, the lower left and the lower right quarter."""

    class_token = None

    def forward(self, pixels: Tensor) -> Seen:
        high, wide = pixels.shape[2] // 8, pixels.shape[3] // 8
        group = torch.zeros(high, wide, dtype=torch.long)
        group[high // 2 :, : wide // 2], group[high // 2 :, wide // 2 :] = 1, 2
        first = torch.nn.functional.one_hot(group.flatten(), 3).T.float()[None]
        torch.manual_seed(1)
        return Seen(torch.randn(1, 16), torch.randn(1, 3, 16), (first, torch.eye(3)[None]))


def _by_rule() -> GroupVit:
    model = groupvit.network()
    model.vision = _Quarters()  # type: ignore[assignment]  # a stand-in with the same call
    return model


def test_groups_that_are_the_objects_are_perfect_where_they_are_told() -> None:
    # 48 x 64 pixels as 6 x 8 patches: the edges of objects are those of patches.
    reading = replace(groupvit.READING, side=48)
    trained = replace(groupvit.trained(reading=reading), model=_by_rule())
    found = scores(trained, [_row(SKY, BOX, CAT)])
    values = found.values
    for end in ("", "_hard"):
        # But for single pixels at corners of three groups.
        assert values[f"oracle.miou{end}"] == pytest.approx(1, abs=0.005)
        assert values[f"probing.jaccard{end}"] == pytest.approx(1, abs=0.005)
        assert values[f"groups.used{end}"] == 3
    # Both things together are two groups; the better of them has half of it.
    assert values["probing.foreground"] == pytest.approx(0.5, abs=0.005)
    assert values["zero_shot.miou"] <= values["oracle.miou"]
    assert len(found.gaps) == 1 and found.gaps[0] >= 0
    assert (values["images"], values["classes"]) == (1, 3)


def test_a_plain_encoder_is_probed_by_its_heads() -> None:
    plain = groupvit.trained(replace(groupvit.SIZES, depths=(2,), groups=()))
    values = scores(plain, [_row(SKY, BOX, CAT)]).values
    assert 0 < values["probing.jaccard"] < 1 and 0 < values["probing.foreground"] <= 1
    assert not any(key.startswith(("zero_shot", "oracle")) for key in values)
    assert values["retrieval.tr_r1"] == 1


def test_smaller_masks_are_in_front() -> None:
    front = made.thing(3, (0, 0, 10, 10), "cat")
    row = _row(SKY, front)
    names = classes_of([row])
    found = target(row, names)
    assert names == ("cat", "sky")
    assert found[5, 5] == 0 and found[20, 20] == 1 and found[40, 40] == -1


def test_rows_without_masks_score_nothing() -> None:
    bare = _row(replace(BOX, mask=None))
    values = scores(groupvit.trained(), [bare]).values
    assert values["classes"] == 0 and "zero_shot.miou" not in values
    assert np.isfinite(list(values.values())).all()


def test_groups_and_failures_are_drawn(tmp_path: Path) -> None:
    rows = [_row(SKY, BOX, CAT), _row(SKY, CAT)]
    rows[1] = replace(rows[1], image_id="1" * 32)
    written = pictures.draw(groupvit.trained(), rows, [0.1, 0.3], tmp_path / "out")
    assert [path.name.partition("-")[0] for path in written] == ["groups"] * 2 + ["failure"] * 2
    assert written[2].name == f"failure-{'1' * 32}.png"  # the largest gap first
    with Image.open(written[0]) as drawn:
        assert drawn.size == (4 * 256, 274)
    plain = groupvit.trained(replace(groupvit.SIZES, depths=(2,), groups=()))
    assert pictures.draw(plain, rows, [0.0, 0.0], tmp_path / "plain") == []
