from __future__ import annotations

import json
from pathlib import Path

import pytest

from grand_pipeline import __version__, cli
from grand_pipeline.store import Run
from tests.fakes import make_run, png


def call(*arguments: str) -> int:
    """Run the command in this process; its exit code."""
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


BUILD = ("build", "--images", "IMAGES", "--preset", "picturebook")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "--images", "ABSENT"), "ABSENT"),
        (("build", "--images", "ABSENT", "--preset", "picturebook"), "ABSENT"),
        (("build", "--images", "IMAGES", "--preset", "picturebok"), "Did you mean 'picturebook'"),
        (("build", "--images", "IMAGES", "--until", "fuson"), "Did you mean 'fusion'"),
        (("build", "--images", "IMAGES", "--set", "fusion.iou=1"), "has no option 'iou'"),
        (("build", "--images", "IMAGES"), "not picture-book scenes"),
        ((*BUILD, "--set", "depth.resources.gpus=9"), "stage depth"),
        (("build",), "--images"),
        (("build", "--images", "IMAGES", "--shard-size", "0"), "shard-size"),
        (("status", "IMAGES"), "no run.json"),
        (("stats", "ABSENT"), "no run.json"),
        (("show", "ABSENT"), "no run.json"),
        (("rerun", "depth", "--run", "IMAGES"), "no run.json"),
        (("eval", "labels", "--run", "IMAGES", "--truth", "IMAGES"), "no run.json"),
        (("frobnicate",), "No such command"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(picture.parent)
    renamed = [a.replace("IMAGES", str(picture)).replace("ABSENT", "/absent") for a in arguments]
    assert call(*renamed) == 2
    printed = capsys.readouterr()
    assert message.replace("ABSENT", "/absent") in printed.err
    assert "Traceback" not in printed.err + printed.out
    assert not (picture.parent / "run").exists(), "nothing was begun"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_plan_as_json_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "--json") == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert {row["stage"] for row in stages} >= {"fusion", "open_detection.owl_vit", "context"}
    assert all(row["writes"] for row in stages)


def test_plan_until_prints_only_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "--until", "fusion", "--mermaid") == 0
    text = capsys.readouterr().out
    assert "fusion" in text and "captions" not in text


def test_status_counts_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, images=5, shard_size=2)
    first = next(run.images())
    run.relist({first.image_id: (first.uri, "/copy.png")})
    assert call("status", str(run.root), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["found"], report["duplicate"], report["annotated"]) == (6, 1, 0)
    assert report["stages"]["annotations"]["missing"] == 3


def test_rendered_truth_is_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call("picturebook", "render", "--out", str(tmp_path / "w"), "-n", "3", "--seed", "5") == 0
    )
    rows = list(Run.open(tmp_path / "w" / "truth").annotations())
    assert len(rows) == 3
    assert all(row.objects and row.dense_caption for row in rows)
    assert "3 scenes" in capsys.readouterr().out
    assert call("status", str(tmp_path / "w" / "truth")) == 2
    assert "was not made by grand build" in capsys.readouterr().err
