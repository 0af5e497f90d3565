"""The benchmark runs and says what outside checks read; how fast it is stands nowhere here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import fusion
from grand_pipeline.types import Box


def test_scenes_hold_what_was_asked_for_and_are_repeatable() -> None:
    scenes = [fusion.scene(np.random.default_rng(1), 7, 100) for _ in range(2)]
    assert [len(found) for found in scenes[0].detections.values()] == [100] * 7
    assert scenes[0].detections == scenes[1].detections
    boxes: list[Box] = [d.box for found in scenes[0].detections.values() for d in found]
    height, width = fusion.SIZE
    assert all(0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height for x1, y1, x2, y2 in boxes)


def test_detectors_agree_often_enough_to_vote() -> None:
    scene = fusion.scene(np.random.default_rng(2), 7, 100)
    found = fusion.Fusion().fuse(scene.detections, fusion.SIZE)
    voted = [instance for instance in found if instance.status == "object"]
    assert len(voted) > fusion.THINGS / 2
    assert sum(len(instance.votes) > 3 for instance in voted) > 10


def test_json_names_speed_and_parts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fusion", "-n", "2", "--boxes", "8", "--json"])
    fusion.main()
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 2
    assert set(report["parts_ms"]) == set(fusion.COUNTED)
    assert report["images_per_second"] == pytest.approx(
        1000 / sum(report["parts_ms"].values()), rel=0.05
    )
    monkeypatch.setattr("sys.argv", ["fusion", "-n", "1", "--boxes", "8"])
    fusion.main()
    assert "images per second on one core" in capsys.readouterr().out
