"""What a plan's models ask for: from the model table, from shipped files, or unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grand_pipeline import cli, footprint, plan_view
from grand_pipeline.footprint import SEES_GB, SHIPPED_GB, WRITES_GB, Footprint, footprints
from grand_pipeline.weights import EMBEDDED
from stages.level1.depth import Depth
from stages.level2.captions import Captions
from stages.level3.dense_caption import DenseCaption
from tests.tiny.checkpoints import blip, checkpoint


def only(*found: Footprint) -> Footprint:
    (one,) = found
    return one


def test_a_published_model_is_known_by_the_table() -> None:
    row = only(*footprints([Depth(model="Intel/dpt-beit-large-512")]))
    assert (row.stage, row.role, row.licence) == ("depth", "depth", "MIT")
    assert (row.licence_read, row.parameters) == ("model card", 343_987_393)
    assert row.disk_gb == pytest.approx(1.376, abs=0.001)
    assert row.gpu_memory_gb == pytest.approx(1.376 + SEES_GB, abs=0.001)


def test_half_precision_halves_the_weights_in_memory_and_writers_are_allowed_more() -> None:
    model = "Salesforce/blip2-opt-2.7b"
    whole, half = footprints(
        [Captions(source="a", model=model), Captions(source="b", model=model, dtype="bfloat16")]
    )
    assert whole.gpu_memory_gb is not None and half.gpu_memory_gb is not None
    assert whole.gpu_memory_gb - WRITES_GB == pytest.approx(2 * (half.gpu_memory_gb - WRITES_GB))
    assert whole.disk_gb == half.disk_gb == pytest.approx(15.0, abs=0.1)


def test_what_ships_with_the_package_is_measured_in_its_files() -> None:
    from safetensors.numpy import load_file

    row = only(*footprints([Depth(model="embedded:depth")]))
    weights = load_file(EMBEDDED / "depth" / "model.safetensors")
    assert row.parameters == sum(array.size for array in weights.values())
    assert row.licence == "Apache-2.0" and row.disk_gb is not None and row.disk_gb < 0.1
    assert row.gpu_memory_gb == pytest.approx(SHIPPED_GB, abs=0.1)


def test_a_folder_of_the_user_s_own_is_unknown_and_says_so() -> None:
    folder = checkpoint(blip)
    row = only(*footprints([Captions(source="mine", model=folder)]))
    assert row == Footprint("captions.mine", "captions", folder, None, None, None, None, None)
    assert plan_view.model_row(row)[3:] == ("-", "-", "-", "-")
    assert plan_view.model_remarks([row])[0] == "licences: unknown x1"


def test_a_model_behind_a_server_takes_nothing_here() -> None:
    stage = DenseCaption(model="qwen", endpoint="http://127.0.0.1:9/v1")
    assert footprints([stage]) == ()


def test_a_licence_that_nobody_read_is_marked() -> None:
    row = only(*footprints([Depth(model="Intel/dpt-large")]))
    assert plan_view.model_row(row)[3] == "Apache-2.0 (not checked)"


def test_every_model_counts_once_in_the_sums() -> None:
    model = "Intel/dpt-beit-large-512"
    rows = footprints([Depth(model=model), Depth(model=model, squeeze=True)])
    assert dict(footprint.licences(rows)) == {"MIT": 1}
    assert footprint.disk_gb(rows) == rows[0].disk_gb
    assert plan_view.model_remarks([])[0] == "licences: -"


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.main(arguments)
    return capsys.readouterr().out


def test_plan_as_json_has_models_and_substitutions(capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(called(capsys, "plan", "--preset", "grand", "--json"))
    assert {"stage", "role", "model", "licence", "parameters"} <= set(report["models"][0])
    (depth,) = (row for row in report["models"] if row["stage"] == "depth")
    assert depth["disk_gb"] > 1 and depth["gpu_memory_gb"] > depth["disk_gb"]
    assert {"model", "by", "reason"} == set(report["substitutions"][0])


def test_plan_prints_models_licences_and_substitutions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = called(capsys, "plan", "--preset", "grand")
    for text in ("Llama 2 Community License x2", "Co-DETR", "substitutions", "[phrase_grounding]"):
        assert text in printed, text
    assert "substitutions" not in called(capsys, "plan", "--preset", "open")


def test_a_preset_of_one_s_own_is_shown_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[depth]\nmodel = 'someone/model'\n")
    assert "licences: unknown x1" in called(capsys, "plan", "--preset", str(path))
