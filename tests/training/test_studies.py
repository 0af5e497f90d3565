"""Studies ask what recipes can do, and their page is what they found."""

from __future__ import annotations

from pathlib import Path

import pytest

from grand_pipeline.errors import SettingsError, UserError
from training import catalog, config
from training.studies import __main__ as runner
from training.studies import definition, page
from training.studies.definition import Arm, Comparison, Study, Trial

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("name", definition.names())
def test_recipes_know_what_arms_set(name: str) -> None:
    asked = definition.study(name)
    module = catalog.recipe(asked.recipe)
    for arm in asked.arms:
        settings = (*asked.set, *arm.set, 'data="run"', 'out="out"')
        config.load(module.Config, asked.recipe, asked.config, settings)


def test_pages_are_fresh() -> None:
    for name, text in page.files().items():
        assert (DOCS / name).read_text("utf-8") == text, f"docs/{name} is stale: run `make docs`"


def test_unknown_study_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="xvlm"):
        definition.study("xvml")


TRIALS = [
    Trial("new", 0, 1.0, {"score": 0.5}),
    Trial("new", 1, 3.0, {"score": 0.7}),
    Trial("old", 0, 2.0, {"score": 0.4}),
    Trial("old", 1, 2.0, {"score": 0.76}),
    Trial("none", 0, 0.0, {"score": 0.1}),
]


def test_a_claim_is_judged_by_means_and_counted_by_seeds() -> None:
    said = page.verdict(Comparison("score", "old", "new"), TRIALS)
    assert "**no** (1 of 2 seeds; difference -0.020 ± 0.113, 0.97 times)" in said
    said = page.verdict(Comparison("score", "new", "old", ratio=0.9), TRIALS)
    assert "**yes** (2 of 2 seeds" in said
    said = page.verdict(Comparison("score", "new", "none", ratio=5.0), TRIALS)
    assert "**yes** (1 of 1 seeds; difference +0.400 ± 0.000, 5.00 times)" in said
    assert page.verdict(Comparison("score", "new", "lost"), TRIALS).endswith("not measured")


def test_a_table_gives_means_and_deviations() -> None:
    asked = Study("t", "c", "xvlm", ("score",), (Arm("new", "truth"), Arm("none", "truth")))
    rows = page._table(asked, TRIALS)
    assert rows[2] == "| new | 0.600 ± 0.141 | 2 | 2.0 |"
    assert rows[3] == "| none | 0.100 | 1 | 0.0 |"


def test_a_picture_has_a_dot_for_every_trial() -> None:
    asked = Study("t", "c", "xvlm", ("score",), (Arm("new", "truth"), Arm("old", "truth")))
    assert page.picture(asked, TRIALS).count("<circle") == 4


def test_comparisons_of_what_is_not_measured_are_refused() -> None:
    with pytest.raises(ValueError, match="no such score"):
        Study("t", "c", "xvlm", ("a",), (Arm("x", "d"),), (Comparison("b", "x", "x"),))


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(definition.as_json(TRIALS, {"study": "s"}), "utf-8")
    assert definition.trials("s", tmp_path) == TRIALS
    assert definition.trials("other", tmp_path) == []


def test_what_is_trained_so_far_is_written(tmp_path: Path) -> None:
    asked = Study("t", "c", "xvlm", ("score",), (Arm("new", "truth"), Arm("no way", "truth")))
    (tmp_path / "no-way" / "seed-1").mkdir(parents=True)
    (tmp_path / "no-way" / "seed-1" / "trial.json").write_text(
        '{"minutes": 2.5, "scores": {"score": 0.25}}', "utf-8"
    )
    runner.write("t", asked, 3, tmp_path, tmp_path / "t.json")
    assert definition.trials("t", tmp_path) == [Trial("no way", 1, 2.5, {"score": 0.25})]


def test_a_failed_training_ends_a_study_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recipe is called 'xvml'"):
        runner._run(("train", "xvml", "--data", "x", "--out", str(tmp_path / "o")), tmp_path)
