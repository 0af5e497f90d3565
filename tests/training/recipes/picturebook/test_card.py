"""The model card: made from kept files alone, and up to date; learning curves; the Makefile."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from grand_pipeline import weights
from training import plots
from training.logs import Row, read
from training.recipes.picturebook import card, curves

RECIPES = Path(card.__file__).parent


def rows(count: int, phase: str = "all") -> list[Row]:
    return [
        {
            "phase": phase,
            "step": n + 1,
            "minutes": n,
            "loss": 9.0 / (n + 1),
            "words": 1.0,
            "lr": 0.1,
        }
        for n in range(count)
    ]


def test_the_card_and_the_curves_are_up_to_date() -> None:
    pages = card.pages(weights.EMBEDDED)
    drawn = {p.relative_to(weights.EMBEDDED).as_posix() for p in weights.EMBEDDED.glob("*/*.svg")}
    assert drawn == set(pages) - {card.CARD}
    for path, text in pages.items():
        kept = (weights.EMBEDDED / path).read_text("utf-8")
        assert kept == text, f"{path} is stale: python -m training.recipes.picturebook.card"


def test_every_target_is_measured() -> None:
    scores = json.loads((weights.EMBEDDED / card.SCORES).read_text())
    assert set(card.TARGETS) <= set(scores)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("objects.ap50", 0.95, ">= 0.9"),
        ("objects.ap50", 0.85, ">= 0.9, **missed**"),
        ("objects.ap50", None, ">= 0.9, not measured"),
        ("depth.delta1", 0.7, "> 0.6"),
        ("depth.delta1", 0.6, "> 0.6, **missed**"),
        ("images", 4.0, ""),
    ],
)
def test_targets_stand_beside_what_was_reached(key: str, value: float | None, said: str) -> None:
    assert card._target(key, {key: value, "depth.delta1_mean_map": 0.6}) == said


def test_a_checkpoint_without_a_log_has_no_curve(tmp_path: Path) -> None:
    for name in card.ROLES:
        (tmp_path / name).mkdir()
        shutil.copy(weights.EMBEDDED / name / "training.json", tmp_path / name)
    log = "".join(json.dumps(row) + "\n" for row in rows(30))
    (tmp_path / "sam" / curves.KEPT).write_text(log)
    card.main([str(tmp_path)])
    text = (tmp_path / card.CARD).read_text()
    assert "![sam](sam/curve.svg)" in text and "No curve was kept of `owl_vit`" in text
    assert "Time per stage" not in text
    (tmp_path / "sam" / curves.KEPT).unlink()
    card.main([str(tmp_path)])
    assert not (tmp_path / "sam" / card.CURVE).exists()


def test_records_do_not_change_the_identity_of_weights(tmp_path: Path) -> None:
    names = {
        "plain": (),
        "recorded": ("training.json", curves.KEPT, card.CURVE),
        "more": ("other",),
    }
    for folder, others in names.items():
        (tmp_path / folder).mkdir()
        for name in ("model.safetensors", *others):
            (tmp_path / folder / name).write_text("weights")
    plain, recorded, more = (weights.digest(str(tmp_path / folder)) for folder in names)
    assert plain == recorded != more


def test_a_curve_is_small_and_says_all_terms_and_phases() -> None:
    long = [row | {f"term{n}": 0.5 for n in range(6)} for row in rows(120, "first")]
    long += [row | {"step": 120 + row["step"]} for row in rows(80, "second")]
    text = plots.losses(long, "sam")
    assert len(text) < 15_000
    words = [node.text for node in ElementTree.fromstring(text).iter() if node.text]
    said = " ".join(words)
    assert all(name in said for name in ("loss", "words", "term5", "first", "second", "200 steps"))
    assert "lr" not in said.split()


def test_a_kept_log_is_thin_and_counts_over_all_phases(tmp_path: Path) -> None:
    for phase, count in (("a", 300), ("b", 50)):
        (tmp_path / phase).mkdir()
        log = [{"step": n + 1, "loss": 1.0} for n in range(count)] + [
            {"step": count, "eval_x": 1.0}
        ]
        (tmp_path / phase / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in log))
    curves.keep({name: tmp_path / name for name in ("a", "b", "missing")}, tmp_path / "kept")
    kept = read(tmp_path / "kept")
    assert len(kept) <= plots.POINTS
    assert (kept[0]["step"], kept[-1]["step"]) == (1, 350)
    assert [row["step"] for row in kept] == sorted(row["step"] for row in kept)
    assert [row["phase"] for row in kept if "eval_x" in row] == ["a", "b"]
    curves.keep({"missing": tmp_path / "missing"}, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def planned(*words: str) -> str:
    make = ["make", "-n", "-C", str(RECIPES), "PYTHON=python", *words]
    done = subprocess.run(make, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_trains_every_checkpoint_then_measures_and_writes_the_card(tmp_path: Path) -> None:
    plan = planned(f"RUNS={tmp_path}", "SCALE=0.5")
    exported = re.findall(rf"--export {tmp_path}/checkpoints/(\w+) --scale 0.5", plan)
    assert sorted(exported) == sorted(card.ROLES)
    last = [plan.index(word) for word in ("eval labels", "stage_times", "picturebook.card")]
    assert last == sorted(last) and last[0] > plan.rindex("--export")
    for name in ("owl_vit_small", "depth", "siglip_scene", "blip"):
        line = next(line for line in plan.splitlines() if f"checkpoints/{name} " in line)
        assert f"--trunk {tmp_path}/checkpoints/owl_vit" in line
        assert plan.index("checkpoints/owl_vit ") < plan.index(line)


def test_only_a_full_training_replaces_what_ships() -> None:
    assert f"--export {weights.EMBEDDED}/sam" in planned("sam", "RUNS=/nowhere")
    assert str(weights.EMBEDDED) not in planned("sam", "SCALE=0.1")
