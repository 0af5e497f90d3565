"""Words, queries, targets and batches of the detectors; detectors and depth in a few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.vocabulary import HELD_OUT, THINGS
from training.recipes.picturebook import batches, depth, detector, pool, text
from training.recipes.picturebook.recipe import Options, Phase, run
from training.recipes.picturebook.state import Schedule


def test_every_known_word_is_one_token_and_others_fall_back_to_pieces() -> None:
    tokenizer = text.build_tokenizer()
    assert all(len(tokenizer(word).input_ids) == 3 for word in text.words())
    odd = tokenizer("zebra café 日本").input_ids
    assert odd.count(tokenizer.eos_token_id) == 1 and odd[0] == tokenizer.bos_token_id > 0
    assert max(tokenizer.get_vocab().values()) == tokenizer.eos_token_id


def test_no_query_names_a_held_out_pair() -> None:
    rng = np.random.default_rng(0)
    queries = {text.random_phrase(rng).text for _ in range(3000)}
    held_out = {f"{color} {noun}" for n, color in HELD_OUT for noun in (n, THINGS[n].plural)}
    assert not held_out & {
        q.removeprefix("a ").removeprefix("an ").removeprefix("the ") for q in queries
    }
    assert any(q.startswith("blue cat") for q in queries)


def test_matches_follow_class_hypernym_and_colour() -> None:
    names = np.array([text.NAMES.index("dog"), text.NAMES.index("sky"), -1])
    colors = np.array([text.COLOR_NAMES.index("red"), -1, -1])
    queries = [("dog", None), ("animal", "red"), ("dog", "green"), ("thing", None), ("sky", None)]
    found = text.matches([text.phrase(n, c, 0) for n, c in queries], names, colors)
    assert found.tolist() == [
        [True, True, False, True, False],
        [False, False, False, False, True],
        [False] * 5,
    ]


def test_assignment_gives_every_object_a_token_with_score_one(tmp_path: Path) -> None:
    scene = pool.scene_arrays(render(3, 0))
    data = pool.Arrays(**{name: value[None] for name, value in scene.items()})
    view = batches.View(256)
    batch = batches.make_batch(data, view, np.random.default_rng(0))
    owners = batch.owner[batch.weight == 1].tolist()
    assert sorted(set(owners)) == list(range(int((data.classes >= 0).sum())))
    where = (batch.weight[0] == 1).nonzero()[:, 0]
    x, y = (where % 16 + 0.5) / 16, (where // 16 + 0.5) / 16
    middle, size = batch.boxes[0, batch.owner[0, where]].split(2, -1)
    assert ((torch.stack([x, y], -1) - middle).abs() <= size / 2 + 1 / 16).all()


def test_mirrored_crop_keeps_boxes_on_their_objects() -> None:
    scenes = [pool.scene_arrays(render(3, i)) for i in range(4)]
    data = pool.Arrays(**{k: np.stack([s[k] for s in scenes]) for k in scenes[0]})
    changed = batches.augment(data, batches.View(zoom=1.0), np.random.default_rng(1))
    checked = 0
    for ids, boxes, classes in zip(changed.ids, changed.boxes, changed.classes, strict=True):
        for slot in np.flatnonzero(classes >= 0):
            y, x = np.nonzero(ids == slot)
            tight = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            assert np.abs(tight - boxes[slot]).max() <= 3
            checked += 1
    assert checked > 12


VIEW = batches.View(64)
TINY = detector.Variant(VIEW, width=32, layers=4, heads=1, text_width=32, text_layers=1)
SHORT = (Phase("first", Schedule(2, 2, 1e-3)), Phase("second", Schedule(2, 2, 1e-3)))


def test_detectors_and_depth_train_and_export_loadable_checkpoints(tmp_path: Path) -> None:
    first = detector.make_recipe("owl", TINY, SHORT)
    run(replace(first, cases=2), options(tmp_path, "owl"))
    second = detector.make_recipe("small", TINY, SHORT[:1], words=True)
    run(replace(second, cases=2), options(tmp_path, "small", trunk=tmp_path / "owl"))
    near = depth.make_recipe(depth.Variant(64, 32, 4, 1, 16), SHORT[:1])
    run(replace(near, cases=2), options(tmp_path, "depth", trunk=tmp_path / "owl"))
    for name in ("owl", "small", "depth"):
        check_loads(tmp_path / name)
    assert json.loads((tmp_path / "owl" / "training.json").read_text())["images"] == 8


def options(folder: Path, name: str, trunk: Path | None = None) -> Options:
    return Options(
        out=folder / "runs" / name,
        export=folder / name,
        export_only=False,
        scale=1.0,
        device="cpu",
        trunk=trunk,
    )


def check_loads(folder: Path) -> None:
    from PIL import Image
    from transformers import (
        AutoImageProcessor,
        AutoModelForDepthEstimation,
        AutoModelForZeroShotObjectDetection,
        AutoProcessor,
    )

    picture = Image.fromarray(render(3, 1).image[:200])
    if json.loads((folder / "config.json").read_text())["model_type"] == "dpt":
        model = AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32)
        inputs = AutoImageProcessor.from_pretrained(folder)(images=picture, return_tensors="pt")
        assert torch.isfinite(model(**inputs).predicted_depth).all()
        return
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder, dtype=torch.float32)
    inputs = AutoProcessor.from_pretrained(folder)(
        text=[["red dog", "zebra"]], images=picture, return_tensors="pt"
    )
    out = model(**inputs)
    assert out.logits.shape[-1] == 2 and torch.isfinite(out.logits).all()
