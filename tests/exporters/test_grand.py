"""`grand export grand`: files, their names, what stops it, and the way back by import."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from grand_pipeline import cli, codec
from grand_pipeline.columns import (
    AFFORDANCES,
    ANNOTATION_SCHEMA,
    ATTRIBUTES,
    DESCRIPTIONS,
    FUSED,
    Annotation,
    ImageRow,
    StageError,
)
from grand_pipeline.errors import RunError, UserError
from grand_pipeline.exporters.grand import export_annotations
from grand_pipeline.importers.grand import import_annotations
from grand_pipeline.importers.intake import Order
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.publish import publish
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.types import Affordance, Attribute, RegionText
from tests.explain import runs
from tests.exporters.held import held

PRESET = {"name": "t", "description": "", "stages": {"affordances": {}}}


def named(*uris: str) -> list[ImageRow]:
    return [ImageRow(f"{n:032x}", u, (), 8, 6, "PNG", None, None) for n, u in enumerate(uris)]


def published(root: Path, rows: list[ImageRow], **more: Any) -> Run:
    """A run with these images and empty published rows."""
    run = Run.create(root / "run", PRESET)
    shard = run.add_shard(rows)
    publish_rows(run, shard, [Annotation(**{**vars(publish(row, {})), **more}) for row in rows])
    return run


def publish_rows(run: Run, shard: str, rows: list[Annotation]) -> None:
    table = pa.Table.from_pylist([codec.encode(row) for row in rows], schema=ANNOTATION_SCHEMA)
    assert run.commit(ANNOTATIONS, shard, table, {"fingerprint": "ab"})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def call(*arguments: object) -> tuple[int, str]:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def test_scenes_with_exact_truth_come_back_as_they_were(tmp_path: Path) -> None:
    truth = render_dataset(tmp_path, 3, 11)
    code, said = call("export", "grand", "--run", truth.root, "--out", tmp_path / "files")
    assert code == 0 and said.startswith("exported 3 images")
    assert [Path(name).stem for name in names(tmp_path / "files")] == sorted(
        Path(row.uri).stem for row in truth.images()
    )
    order = Order(tmp_path / "again", [str(tmp_path / "images")])
    report = import_annotations([tmp_path / "files"], order)
    assert not report.changed.counts, "nothing had to be changed or left out"
    rows = {row.image_id: held(row) for row in Run.open(order.run).annotations()}
    assert rows == {row.image_id: held(row) for row in truth.annotations()}


def test_what_is_beside_the_rows_is_exported_and_comes_back(tmp_path: Path) -> None:
    use = Affordance("let fly", "It flies.", (0, 1), ("dog", "kite"))
    region = RegionText((0.0, 0.0, 9.0, 9.0), "a dark corner", 0.5)
    taken = RegionText(runs.DOG, "red", 0.5)
    run = runs.build(tmp_path)
    stages = {**run.info()["preset"]["stages"], "affordances": {}, "imported.x": {}}
    Run.create(run.root, {"name": "t", "description": "", "stages": stages, "until": None})
    runs.commit(run, "00000", "affordances", {AFFORDANCES: (use,)}, {})
    runs.commit(run, "00000", "imported.x", {DESCRIPTIONS.of("x"): (region, taken)}, {})
    images = run.shard_images("00000")
    values = {c.name: v for columns in runs.VALUES.values() for c, v in columns.items()}
    rows = [publish(image, values if n == 0 else {}) for n, image in enumerate(images)]
    publish_rows(run, "00000", rows)
    report = export_annotations(run, tmp_path / "files")
    assert (report.images, report.unreadable, report.affordances) == (2, 1, True)
    # Two images are called dog.png.
    assert names(tmp_path / "files") == [f"dog-{'ab' * 16}.json", f"dog-{'ac' * 16}.json"]
    said = json.loads((tmp_path / "files" / f"dog-{'ab' * 16}.json").read_text("utf-8"))
    (texts,) = (entry["attributes"] for entry in said["dog.png"]["floating_attributes"])
    assert texts == ["a dark corner"], "what an object has as attribute floats no more"
    import_annotations([tmp_path / "files" / f"dog-{'ab' * 16}.json"], Order(tmp_path / "again"))
    again = Run.open(tmp_path / "again")
    assert [v for _, v in again.column("imported.grand", AFFORDANCES)] == [(use,)]
    assert [v for _, v in again.column("imported.grand", DESCRIPTIONS.of("grand"))] == [(region,)]
    (row,) = again.annotations()
    assert held(row).objects == held(rows[0]).objects
    assert held(row).captions == held(rows[0]).captions


def test_texts_of_describers_that_found_no_object_float(tmp_path: Path) -> None:
    run = runs.build(tmp_path)
    given = {**runs.FUSION, "describers": ["b"]}
    fused = tuple(one for one in runs.FUSED if one.id != 3)
    told = (Attribute(0, "b", "Dogs"),)
    values = {FUSED: fused, ATTRIBUTES.of("b"): told}
    runs.commit(run, "00000", "fusion", values, given)
    images = run.shard_images("00000")
    publish_rows(run, "00000", [publish(image, {}) for image in images])
    export_annotations(run, tmp_path / "files")
    said = json.loads((tmp_path / "files" / f"dog-{'ab' * 16}.json").read_text("utf-8"))
    assert said["dog.png"]["floating_attributes"] == [
        {"bbox": list(runs.CAT), "labels": [], "score": 0.25, "attributes": ["cat"]}
    ]


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["/a/x.jpg", "s3://b/y.jpeg"], ["x.json", "y.json"]),
        (["x.jpg", "x.png"], [f"x-{0:032x}.json", f"x-{1:032x}.json"]),
        (["a.b.jpg", "photo", "\u5199\u771f.png"], ["a.b.json", "photo.json", "\u5199\u771f.json"]),
        ([".jpg", "..", "a\x00b.jpg", f"{'y' * 300}.jpg"], [f"{n:032x}.json" for n in range(4)]),
    ],
)
def test_files_are_named_after_images(tmp_path: Path, uris: list[str], expected: list[str]) -> None:
    report = export_annotations(published(tmp_path, named(*uris)), tmp_path / "files")
    assert names(tmp_path / "files") == sorted(expected)
    assert report.renamed == sum("0000" in name for name in expected)


def test_images_that_failed_are_counted(tmp_path: Path) -> None:
    run = published(tmp_path, named("a.jpg"), errors=(StageError("fusion", "boom"),))
    report = export_annotations(run, tmp_path / "files")
    assert (report.images, report.with_errors, report.affordances) == (1, 1, False)
    assert "no affordances" in report.text() and "some stage failed" in report.text()


def test_an_export_again_replaces_its_files_and_sweeps_what_was_left(tmp_path: Path) -> None:
    run = published(tmp_path, named("a.jpg", "b.jpg"))
    export_annotations(run, tmp_path / "files")
    (tmp_path / "files" / "a.json").write_text("torn")
    (tmp_path / "files" / ".tmp-a-0123").write_text("torn")
    (tmp_path / "files" / "b.json").unlink()
    export_annotations(run, tmp_path / "files")
    assert names(tmp_path / "files") == ["a.json", "b.json"]
    assert "a.jpg" in json.loads((tmp_path / "files" / "a.json").read_text("utf-8"))


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    run = published(tmp_path, named("a.jpg"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"1 files that are not of this export \(thesis.txt\)"):
        export_annotations(run, tmp_path / "files")
    with pytest.raises(UserError, match="is no folder"):
        export_annotations(run, tmp_path / "files" / "thesis.txt")
    assert names(tmp_path / "files") == ["thesis.txt"]


def _empty(run: Run) -> None:
    for shard in run.shards():
        run.images_path(shard).unlink()


def _more_images(run: Run) -> None:
    run.add_shard(named("new.jpg"))


def _unpublished(run: Run) -> None:
    run.discard(ANNOTATIONS, "00000")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_empty, "has no images"),
        (_unpublished, r"1 of 1 shards of .* are not annotated \(00000\); finish .*grand build"),
        (_more_images, r"1 of 2 shards of .* \(00001\)"),
    ],
)
def test_a_run_that_is_not_annotated_is_refused(
    tmp_path: Path, harm: Callable[[Run], None], message: str
) -> None:
    run = published(tmp_path, named("a.jpg"))
    harm(run)
    with pytest.raises(RunError, match=message):
        export_annotations(run, tmp_path / "files")
    assert not (tmp_path / "files").exists()
    assert call("export", "grand", "--run", run.root, "--out", tmp_path / "files")[0] == 2
    assert call("export", "grand", "--run", tmp_path / "no", "--out", tmp_path / "files")[0] == 2


def test_a_lost_fragment_is_named(tmp_path: Path) -> None:
    run = published(tmp_path, named("a.jpg"))
    (column,) = (AFFORDANCES,)
    empty = {"image_id": pa.array([f"{0:032x}"]), column.name: pa.array([[]], column.type)}
    run.commit("affordances", "00000", pa.table(empty), {"fingerprint": "ab"})
    shard = run.add_shard(named("b.jpg"))
    publish_rows(run, shard, [publish(row, {}) for row in named("b.jpg")])
    with pytest.raises(RunError, match="no fragment of 'affordances' for shard 00001"):
        export_annotations(run, tmp_path / "files")


def test_the_report_is_for_programs_too(tmp_path: Path) -> None:
    run = published(tmp_path, named("a.jpg"))
    code, said = call("export", "grand", "--run", run.root, "--out", tmp_path / "x", "--json")
    assert code == 0 and json.loads(said)["images"] == 1
