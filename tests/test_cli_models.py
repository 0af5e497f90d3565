"""`grand models` as a user runs it, with a hub and a cache of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grand_pipeline import cli, publication
from grand_pipeline.hub_cache import snapshot
from grand_pipeline.store import Run
from tests import world
from tests.fakes import png
from tests.hub_server import Hub, commit_of, serving
from tests.tiny.checkpoints import checkpoint, siglip

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000}
PRESET = """
[tags.a]
model = "owner/one"
vocabulary = ["dog"]
[captions.b]
model = "owner/two"
"""


def grand(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, because the library reads its variables but once."""
    code = "from grand_pipeline.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=800,
        env={**os.environ, "HF_HUB_OFFLINE": "", "HF_HUB_CACHE": "", **environment},
    )


@pytest.fixture
def preset(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(PRESET)
    return str(path)


def test_check_pull_check(tmp_path: Path, preset: str) -> None:
    with serving(Hub({"owner/one": dict(FILES), "owner/two": dict(FILES)})) as hub:
        here = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address}
        before = grand("models", "check", "--preset", preset, "--json", **here)
        pulled = grand("models", "pull", "--preset", preset, **here)
        hub.repositories.clear()
        after = grand("models", "check", "--preset", preset, "--json", **here)
    assert (before.returncode, pulled.returncode, after.returncode) == (2, 0, 0), pulled.stderr
    assert [one["here"] for one in json.loads(before.stdout)] == [False, False]
    assert "2 of 2 models are not here" in before.stderr
    rows = json.loads(after.stdout)
    assert [(one["model"], one["stages"], one["here"]) for one in rows] == [
        ("owner/one", ["tags.a"], True),
        ("owner/two", ["captions.b"], True),
    ]
    assert {one["revision"] for one in rows} == {commit_of(FILES)}
    assert f"commit {commit_of(FILES)}" in pulled.stdout


def test_one_model_that_can_not_be_had_does_not_keep_the_others_back(tmp_path: Path) -> None:
    with serving(Hub({"owner/two": dict(FILES)})) as hub:
        here = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.address}
        pulled = grand("models", "pull", "owner/one", "owner/two", **here)
    assert pulled.returncode == 2
    assert "has no repository 'owner/one'" in pulled.stderr
    assert "Traceback" not in pulled.stderr
    assert snapshot(tmp_path / "hub", "owner/two") is not None


def test_offline_is_honoured_with_one_line(tmp_path: Path, preset: str) -> None:
    with serving(Hub({"owner/one": dict(FILES)})) as hub:
        here = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "1"}
        pulled = grand("models", "pull", "--preset", preset, **here)
    assert pulled.returncode == 2 and hub.asked == []
    assert pulled.stderr.startswith("grand: HF_HUB_OFFLINE is set")
    assert len(pulled.stderr.splitlines()) == 1


def test_build_without_its_models_stops_before_any_work(tmp_path: Path, preset: str) -> None:
    images, run = Path(__file__).parent.parent / "examples" / "images", tmp_path / "run"
    built = grand(
        *("build", "--images", str(images), "--preset", preset, "--out", str(run)),
        HF_HOME=str(tmp_path / "hf"),
        HF_HUB_OFFLINE="1",
    )
    assert built.returncode == 2 and not run.exists()
    assert "Traceback" not in built.stderr
    assert "tags.a: owner/one: not in" in built.stderr
    assert built.stderr.splitlines()[-1].endswith("grand models pull owner/one owner/two")


@pytest.mark.ray
@pytest.mark.timeout(900)  # four processes, one of them with Ray
def test_build_fetches_pins_and_needs_no_hub_from_then_on(tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in Path(checkpoint(siglip)).iterdir()}
    preset, run = tmp_path / "mine.toml", tmp_path / "run"
    preset.write_text('[tags.a]\nmodel = "owner/siglip"\nvocabulary = ["dog", "cat"]\n')
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(png(1))
    with serving(Hub({"owner/siglip": files})) as hub:
        here = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address}
        command = ("build", "--images", str(images), "--preset", str(preset), "--out", str(run))
        built = grand(*command, **here)
        assert built.returncode == 0, built.stderr
        asked = len(hub.asked)
        wanted = {path.rpartition("/")[2] for _, path, _ in hub.asked if "/resolve/" in path}
        assert wanted == set(files), "the workers load from the cache and ask nobody"
        again = grand(*command, **here)
        assert again.returncode == 0 and len(hub.asked) == asked, "nothing is asked for again"
    pinned = f"owner/siglip@{commit_of(files)}"
    opened = Run.open(run)
    assert opened.info()["preset"]["stages"]["tags.a"]["model"] == pinned
    [fragment] = (run / "stages" / "tags.a").glob("*.parquet")
    identity = json.loads(publication.metadata(fragment)["identity"])
    assert identity["weights"] == {pinned: f"hub:{pinned}"}
    elsewhere = {"HF_HOME": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "1"}
    status = json.loads(grand("status", str(run), "--json", **elsewhere).stdout)
    assert status["stages"]["tags.a"]["done"] == 1, "known by its commit on any machine"
    rerun = grand("rerun", "tags.a", "--run", str(run), **elsewhere)
    assert rerun.returncode == 2 and fragment.exists(), "refused before anything is discarded"


def listed(*arguments: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(world.grand("models", "list", "--json", *arguments))
    return rows


def test_list_filters_by_role_and_by_preset() -> None:
    depth = listed("--role", "depth")
    assert 0 < len(depth) < len(listed()) and {row["role"] for row in depth} == {"depth"}
    mine = {row["hub_id"]: row for row in listed("--preset", "picturebook")}
    assert mine["embedded:sam"]["role"] == "segments, masks"
    assert mine["embedded:llm"]["licence"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--role", "cooking"), "no model has the role 'cooking'"),
        (("list", "--role", "depth", "--preset", "picturebook"), "not both"),
        (("pull",), "name models, or all of a preset"),
        (("check", "--preset", "nothing"), "no preset is called 'nothing'"),
    ],
)
def test_mistakes_are_named(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["models", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
