"""Imported columns in the plan: done, never computed, kept, and stale where they change."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from grand_pipeline import build, cli, settings
from grand_pipeline.columns import CAPTIONS, DETECTIONS, Annotation
from grand_pipeline.errors import RunError, UserError
from grand_pipeline.importers import intake
from grand_pipeline.importers.grand_raw import import_raw
from grand_pipeline.importers.intake import Order
from grand_pipeline.plan import make_plan
from grand_pipeline.store import Run
from tests.fakes import make_run, png
from tests.importers.raw_world import DOG, FIRST, pictures, predictions, seen, write

RULES = """
[preset]
description = "fusion of two votes"
[fusion]
describers = ["grit"]
[linking]
"""


def call(*arguments: object) -> tuple[int, str]:
    """Run a command in this process; its exit code and what it printed."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def quiet() -> build.Watcher:
    return build.Watcher(lambda name: None, lambda todo: None, lambda outcome: None)


def labels(run: Run, source: str) -> dict[str, list[str]]:
    """File name -> labels of a detector."""
    names = {row.image_id: Path(row.uri).name for row in run.images()}
    found = run.column(f"imported.{source}", DETECTIONS.of(source))
    return {names[image_id]: [d.label for d in values] for image_id, values in found}


def detector(folder: Path, image: str, label: str, box: Sequence[float] = DOG) -> None:
    entry = {"co_detr": [seen(list(box), 0.9, label)]}
    write(folder / "co_detr" / f"{Path(image).stem}.json", {image: entry})


@pytest.fixture
def world(tmp_path: Path) -> Path:
    pictures(tmp_path / "images")
    predictions(tmp_path / "pred")
    return tmp_path


def bring(root: Path, folder: str = "pred") -> Run:
    import_raw(root / folder, Order(root / "run", [str(root / "images")]))
    return Run.open(root / "run")


def states(run: Run) -> dict[str, str]:
    """Step -> its only state over all shards."""
    found = build.status(run)["stages"]
    return {
        key: next(state for state in ("stale", "missing", "done") if counts[state])
        for key, counts in found.items()
    }


def times(run: Run) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.root.glob("stages/*/*.parquet")}


def test_imported_columns_are_done_and_what_follows_is_missing(world: Path) -> None:
    found = states(bring(world))
    assert {state for key, state in found.items() if key.startswith("imported.")} == {"done"}
    rest = {key for key in found if not key.startswith("imported.")}
    assert rest == {
        *("grand_v1_fusion", "grand_v1_linking", "grand_v1_placement", "grand_v1_scene_graph"),
        *("described.gpt4roi", "chosen_labels", "dense_grounding", "annotations"),
        *("grand_v1_affordances", "masks"),
    }
    assert {found[key] for key in rest} == {"missing"}


def test_stages_whose_columns_are_not_there_are_left_out_and_named(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    detector(tmp_path / "pred", FIRST, "dog")
    report = import_raw(tmp_path / "pred", Order(tmp_path / "run", [str(tmp_path / "images")]))
    preset, _ = build.recorded_preset(Run.open(tmp_path / "run"))
    assert set(preset.tables) == {"imported.co_detr", "grand_v1_fusion"}
    assert report.left_out["grand_v1_linking"] in ("captions", "phrases", "phrase_boxes")
    assert "left out of the preset: grand_v1_linking" in report.text()


def test_importing_the_same_again_does_nothing(world: Path) -> None:
    run = bring(world)
    before = times(run)
    bring(world)
    assert times(run) == before


def test_another_content_makes_what_follows_stale_and_nothing_else(world: Path) -> None:
    run = bring(world)
    preset, _ = build.recorded_preset(run)
    before = {step.key: step.fingerprint for step in make_plan(settings.stages(preset)).steps}
    detector(world / "pred", FIRST, "cat")
    bring(world)
    after_preset, _ = build.recorded_preset(run)
    after = {step.key: step.fingerprint for step in make_plan(settings.stages(after_preset)).steps}
    changed = {key for key in before if before[key] != after[key]}
    assert "imported.co_detr" in changed and "grand_v1_fusion" in changed
    assert {key for key in changed if key.startswith("imported.")} == {"imported.co_detr"}
    assert labels(run, "co_detr")[FIRST] == ["cat"]


def test_going_back_to_an_earlier_content_brings_it_back(world: Path) -> None:
    run = bring(world)
    text = (world / "pred" / "co_detr" / "first.json").read_text()
    detector(world / "pred", FIRST, "cat")
    bring(world)
    write(world / "pred" / "co_detr" / "first.json", text)
    bring(world)
    assert labels(run, "co_detr")[FIRST] == ["dog", "sports_ball"]


def test_a_later_import_adds_images_and_loses_nothing(world: Path) -> None:
    run = bring(world)
    (world / "images" / "third.png").write_bytes(png(3, (200, 100)))
    detector(world / "more", "third.png", "bird")
    bring(world, "more")
    assert labels(run, "co_detr") == {
        FIRST: ["dog", "sports_ball"], "second.png": ["cat"], "third.png": ["bird"],
    }  # fmt: skip
    assert len(run.shards()) == 2
    assert {s for k, s in states(run).items() if k.startswith("imported.")} == {"done"}
    captions = [text for _, text in run.column("imported.blip2", CAPTIONS.of("blip2"))]
    assert len(captions) == 1, "nothing is said of the new image, and nothing is lost"


def test_an_imported_step_is_not_computed_again(world: Path) -> None:
    run = bring(world)
    before = times(run)
    preset, _ = build.recorded_preset(run)
    with pytest.raises(UserError, match=r"'imported\.co_detr' was imported .*grand import"):
        build.rerun(run, "imported.co_detr", build.Job(run.root, preset), quiet())
    assert times(run) == before
    run.discard("imported.pomp", "00000")
    with pytest.raises(UserError, match=r"imported\.pomp of .* run `grand import` again"):
        build.build(build.Job(run.root, preset), quiet())
    bring(world)
    assert states(run)["imported.pomp"] == "done"


def test_images_without_predictions_are_not_added_by_a_build(world: Path) -> None:
    run = bring(world)
    (world / "images" / "third.png").write_bytes(png(3, (200, 100)))
    code, _ = call("build", "--images", world / "images", "--out", run.root)
    assert code == 2
    assert len(list(run.images())) == 2


def test_predictions_can_join_a_run_that_has_its_images(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=2)
    detector(tmp_path / "pred", "0001.png", "dog", (1, 1, 5, 5))
    import_raw(tmp_path / "pred", Order(run.root))
    assert labels(run, "co_detr") == {"0001.png": ["dog"]}
    preset, _ = build.recorded_preset(run)
    assert (preset.name, list(preset.tables)) == ("fake", ["imported.co_detr"])


def test_a_run_of_names_takes_no_images(world: Path) -> None:
    import_raw(world / "pred", Order(world / "run"))
    with pytest.raises(UserError, match="imported without images"):
        bring(world)


def test_a_truth_run_is_not_imported_into(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", {"name": "truth"})
    detector(tmp_path / "pred", FIRST, "dog")
    with pytest.raises(RunError, match="was not made by grand build"):
        import_raw(tmp_path / "pred", Order(tmp_path / "run"))


def test_the_packaged_rules_are_known_stages() -> None:
    preset = settings.load_preset(str(intake.PRESET))
    assert [stage.models for stage in settings.stages(preset)] == [()] * len(preset.tables)
    assert preset.description


def test_commands_report_and_fail_where_files_are_broken(world: Path) -> None:
    write(world / "pred" / "pomp" / "second.json", "{")
    arguments = ("import", "grand-raw", world / "pred", "--images", world / "images")
    code, text = call(*arguments, "--run", world / "run")
    assert code == 3 and "1 images with a file that can not be read" in text
    code, text = call(*arguments, "--run", world / "run", "--max-failed", 1, "--json")
    assert code == 0
    assert json.loads(text)["sources"]["pomp"] == {
        "imported": 1, "with nothing said": 0, "failed": 1,
    }  # fmt: skip
    assert call("import", "grand", world / "absent", "--run", world / "run")[0] == 2
    assert call("build", "--out", world / "nothing")[0] == 2


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # Ray warns on its own.
def test_a_build_runs_what_follows_and_only_that(world: Path) -> None:
    run = bring(world)
    before = times(run)
    rules = write(world / "rules.toml", RULES)
    build.build(build.Job(run.root, settings.load_preset(str(rules))), quiet())
    assert {path: stamp for path, stamp in times(run).items() if path in before} == before
    found = {path.parent.name for path in times(run)} - {path.parent.name for path in before}
    assert found == {"fusion", "linking"}
    assert call("build", "--out", run.root, "--images", world / "images")[0] == 0
    rows: dict[str, Annotation] = {Path(row.uri).name: row for row in run.annotations()}
    assert [o.label for o in rows[FIRST].objects if o.status == "object"] == [
        *("dog", "sports ball"),
    ]
    assert {link.text for link in rows[FIRST].phrases} == {"a brown dog", "the dog's ball"}
    assert rows[FIRST].landmark is not None and rows[FIRST].context is not None
    assert rows["second.png"].errors == () and len(rows["second.png"].objects) == 1
