"""From raw predictions to annotations with no model at all, by the preset that the docs give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grand_pipeline import build, lock, settings
from grand_pipeline.annotations import publish_shard
from grand_pipeline.columns import AFFORDANCES, Annotation, NamedAttribute
from grand_pipeline.exporters.grand import export_annotations
from grand_pipeline.importers.grand import import_annotations
from grand_pipeline.importers.grand_raw import import_raw
from grand_pipeline.importers.intake import Order
from grand_pipeline.plan import make_plan
from grand_pipeline.store import Run
from grand_pipeline.worker import annotate_shard
from tests.exporters.held import held
from tests.importers.raw_world import CAPTION, FIRST, HEIGHT, WIDTH, pictures, predictions

PAGE = Path(__file__).parents[2] / "docs" / "import.md"


def documented(folder: Path) -> Path:
    """The preset on the page about imports, as a file."""
    ((text),) = re.findall(r"```toml\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)
    path = folder / "rules.toml"
    path.write_text(text, "utf-8")
    return path


def bring(root: Path) -> Run:
    pictures(root / "images")
    predictions(root / "pred")
    import_raw(root / "pred", Order(root / "run", [str(root / "images")]))
    return Run.open(root / "run")


def test_the_documented_preset_is_a_plan_without_models(tmp_path: Path) -> None:
    run = bring(tmp_path)
    preset = settings.load_preset(str(documented(tmp_path)))
    plan = make_plan(settings.stages(build.with_imported(preset, run.root)))
    computed = [step.stage for step in plan.steps if not step.stage.given]
    assert len(computed) == len(preset.tables)
    assert [stage.key for stage in computed if stage.models or stage.needs_image] == []


def built(run: Run, preset: settings.Preset) -> dict[str, Annotation]:
    """Compute the preset's stages in this process, as workers do; published rows by file name."""
    preset = build.with_imported(preset, run.root)
    plan = make_plan(settings.stages(preset))
    Run.create(run.root, build.described(preset, None))
    with lock.hold(run.root) as token:
        for step in plan.steps:
            if not step.stage.given:
                annotate_shard(run, step, step.stage.load("cpu"), "00000", token)
        publish_shard(run, plan, "00000", token)
    return {Path(row.uri).name: row for row in run.annotations()}


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Annotation]:
    root = tmp_path_factory.mktemp("raw")
    run = bring(root)
    found = built(run, settings.load_preset(str(documented(root))))
    assert set(found) == {FIRST, "second.png"}
    return run, found[FIRST]


def test_everything_that_was_said_is_put_together(row: tuple[Run, Annotation]) -> None:
    _, first = row
    assert (first.width, first.height, first.errors) == (WIDTH, HEIGHT, ())
    dog, ball = (o for o in first.objects if o.status == "object")
    assert (dog.label, ball.label) == ("dog", "ball")
    voters = {"co_detr", "eva-02-01", "eva-02-02", "mdetr-re"}
    assert {vote.source for vote in dog.votes} == voters, "GRiT gives no label"
    assert [o.mask_source for o in (dog, ball)] == ["detector", "detector"]
    assert set(dog.attributes) == {
        NamedAttribute("gpt4roi", "a dog that is brown"),
        NamedAttribute("grit", "a brown dog"),
    }
    assert dog.depth is not None and ball.depth is not None and dog.depth < ball.depth
    assert {link.text for link in first.phrases} >= {"a brown dog", "the dog's ball"}
    assert first.captions[0].text == CAPTION
    assert first.scene_graph is not None and "dog" in first.scene_graph
    assert first.dense_caption is not None and first.dense_caption.spans
    assert first.context is not None and first.context.text == "Dogs like to play."
    assert first.tags and first.landmark is not None


def test_affordances_are_beside_the_row(row: tuple[Run, Annotation]) -> None:
    run, first = row
    ids = {row.image_id: Path(row.uri).name for row in run.images()}
    found = {ids[i]: uses for i, uses in run.column("affordances", AFFORDANCES)}[FIRST]
    known = {one.id: one.label for one in first.objects}
    uses = {use.category: [known[i] for i in use.object_ids] for use in found}
    assert uses["keep as a pet"] == ["dog"] and uses["play ball games with"] == ["ball"]


def test_the_rules_that_an_import_records_need_no_model_either(tmp_path: Path) -> None:
    run = bring(tmp_path)
    preset, _ = build.recorded_preset(run)
    first = built(run, preset)[FIRST]
    assert first.errors == () and first.scene_graph is not None
    dog, ball = (o for o in first.objects if o.status == "object")
    assert [o.mask_source for o in (dog, ball)] == ["detector", "detector"]
    assert all(o.mask is None or o.mask_source == "detector" for o in first.objects)


def test_what_was_put_together_can_be_exported(row: tuple[Run, Annotation], tmp_path: Path) -> None:
    run, first = row
    report = export_annotations(run, tmp_path / "files")
    assert (report.images, report.affordances) == (2, True)
    order = Order(tmp_path / "again", [str(run.root.parent / "images")])
    import_annotations([tmp_path / "files"], order)
    again = {Path(r.uri).name: r for r in Run.open(order.run).annotations()}
    assert held(again[FIRST]) == held(first)
