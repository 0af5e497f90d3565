"""Models are fetched from a hub in this process: once, whole, the needed files alone, and a
download that was cut short goes on."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grand_pipeline import download, fetch, hub_cache, presence, weights
from grand_pipeline.errors import MissingDependencyError
from grand_pipeline.fetch import Fetcher
from grand_pipeline.zoo.files import PublishedFile
from tests.hub_server import Hub, commit_of, serving
from tests.tiny.chats import llama
from tests.tiny.checkpoints import Builder, blip, checkpoint, clip, llava, owl_vit
from tests.tiny.detectors import grounding_dino
from tests.tiny.vlms import florence2, kosmos2, qwen3_vl

NAME = "owner/model"
WEIGHTS = bytes(range(256)) * 4096
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "chat_template.jinja": b"{{ messages }}",
    "README.md": b"# words",
    "modeling_own.py": b"raise SystemExit",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": WEIGHTS,
    "flax_model.msgpack": WEIGHTS,
    "tf_model.h5": WEIGHTS,
    "model.fp16.safetensors": WEIGHTS,
    "onnx/model.onnx": WEIGHTS,
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub({NAME: dict(FILES)})) as served:
        yield served


def fetcher(hub: Hub, cache: Path, **others: Any) -> Fetcher:
    """Speaks to nobody, and with the hub of the test."""
    return replace(Fetcher(cache, hub.address, offline=False, say=str), **others)


def names(files: Path) -> set[str]:
    return {str(path.relative_to(files)) for path in files.rglob("*") if path.is_file()}


def test_only_what_the_stages_load_is_fetched_and_the_commit_is_noted(
    hub: Hub, tmp_path: Path
) -> None:
    fetch.pull(NAME, fetcher(hub, tmp_path))
    files = hub_cache.snapshot(tmp_path, NAME)
    assert files is not None and files.name == commit_of(FILES)
    assert names(files) == {
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "model.safetensors",
    }
    assert (files / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent("pytorch_model.bin") == []


def test_what_is_here_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetch.pull(NAME, fetcher(hub, tmp_path))
    fetch.pull(NAME, fetcher(hub, tmp_path))
    assert hub.sent("model.safetensors") == [""]
    assert hub.sent("config.json") == [""]


def test_a_cut_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cuts["model.safetensors"] = 700_000
    by = fetcher(hub, tmp_path)
    with pytest.raises(MissingDependencyError, match=r"model\.safetensors.*to go on"):
        fetch.pull(NAME, by)
    environment = {"HF_HUB_CACHE": str(tmp_path)}
    assert not presence.look(NAME, (), environment).here
    assert weights.resolve(NAME, environment) == NAME, "half a model is no model"
    fetch.pull(NAME, by)
    whole, rest = hub.sent("model.safetensors")
    assert whole == "" and 0 < int(rest.removeprefix("bytes=").rstrip("-")) <= 700_000
    found = presence.look(NAME, (), environment)
    assert found.here and (Path(found.detail) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_server_without_ranges_is_asked_for_the_whole_again(hub: Hub, tmp_path: Path) -> None:
    hub.cuts["model.safetensors"], hub.ranges = 700_000, False
    by = fetcher(hub, tmp_path)
    with pytest.raises(MissingDependencyError):
        fetch.pull(NAME, by)
    fetch.pull(NAME, by)
    assert presence.look(NAME, (), {"HF_HUB_CACHE": str(tmp_path)}).here


def test_a_moved_branch_is_another_revision_from_the_next_pull_on(hub: Hub, tmp_path: Path) -> None:
    environment = {"HF_HUB_CACHE": str(tmp_path)}
    by = fetcher(hub, tmp_path)
    fetch.pull(NAME, by)
    old = weights.pinned(NAME, environment)
    hub.repositories[NAME]["model.safetensors"] = WEIGHTS[::-1]
    assert weights.pinned(NAME, environment) == old == f"{NAME}@{commit_of(FILES)}"
    fetch.pull(NAME, by)
    new = weights.pinned(NAME, environment)
    assert new != old and new == f"{NAME}@{commit_of(hub.repositories[NAME])}"
    assert Path(weights.resolve(old, environment)).name == commit_of(FILES), "both are kept"


def test_a_commit_can_be_asked_for_by_name(hub: Hub, tmp_path: Path) -> None:
    named = f"{NAME}@{commit_of(FILES)}"
    fetch.pull(named, fetcher(hub, tmp_path))
    environment = {"HF_HUB_CACHE": str(tmp_path)}
    assert weights.pinned(named, environment) == named
    assert presence.look(named, (), environment).here
    assert not presence.look(NAME, (), environment).here, "nobody said what main is"


def test_cut_up_weights_come_with_their_index(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[NAME] = {
        "config.json": b"{}",
        "model.safetensors.index.json": b"{}",
        "model-00001-of-00002.safetensors": b"a",
        "model-00002-of-00002.safetensors": b"b",
        "consolidated.safetensors": b"ab",
        "pytorch_model.bin.index.json": b"{}",
    }
    fetch.pull(NAME, fetcher(hub, tmp_path))
    files = hub_cache.snapshot(tmp_path, NAME)
    assert files is not None and names(files) == {
        "config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (f"open_clip:{NAME}", {"open_clip_config.json", "open_clip_model.safetensors"}),
        (f"tokenizer:{NAME}", {"open_clip_config.json", "tokenizer.json"}),
    ],
)
def test_other_parts_of_a_repository(
    hub: Hub, tmp_path: Path, model: str, expected: set[str]
) -> None:
    hub.repositories[NAME] = {
        "open_clip_config.json": b"{}",
        "open_clip_model.safetensors": b"a",
        "open_clip_pytorch_model.bin": b"b",
        "model.safetensors": b"c",
    } | ({"tokenizer.json": b"{}"} if model.startswith("tokenizer") else {})
    fetch.pull(model, fetcher(hub, tmp_path))
    files = hub_cache.snapshot(tmp_path, NAME)
    assert files is not None and names(files) == expected


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("owner/nothing", "has no repository 'owner/nothing'"),
        (f"{NAME}@later", "has no revision 'later'"),
        ("owner/gated", "accept its licence"),
        ("owner/empty", "no weights that the stages can load"),
        ("/absent/my_own.pth", r"nobody here knows.*sam_vit_b"),
    ],
)
def test_what_can_not_be_fetched_is_one_clear_line(
    hub: Hub, tmp_path: Path, model: str, message: str
) -> None:
    hub.repositories |= {"owner/gated": dict(FILES), "owner/empty": {"config.json": b"{}"}}
    hub.gated.add("owner/gated")
    with pytest.raises(MissingDependencyError, match=message) as refused:
        fetch.pull(model, fetcher(hub, tmp_path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "build", [clip, owl_vit, blip, llava, florence2, kosmos2, qwen3_vl, grounding_dino, llama]
)
def test_everything_that_a_checkpoint_is_saved_with_is_taken(build: Builder) -> None:
    files = sorted(path.name for path in Path(checkpoint(build)).iterdir())
    large, small = fetch.chosen(["README.md", "pytorch_model.bin", "own.py", *files], "model")
    assert sorted([*large, *small]) == files
    assert large == ["model.safetensors"]


def test_a_hub_that_must_not_be_asked_or_does_not_answer(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="HF_HUB_OFFLINE is set"):
        fetch.check_reachable([NAME], fetcher(hub, tmp_path, offline=True))
    nobody = fetcher(hub, tmp_path, endpoint="http://127.0.0.1:1")
    with pytest.raises(MissingDependencyError, match="does not answer"):
        fetch.check_reachable([NAME], nobody)
    fetch.check_reachable(["en_core_web_sm"], nobody)
    fetch.check_reachable([NAME], fetcher(hub, tmp_path))
    assert hub.asked == [("HEAD", "/", "")]


def published(hub: Hub, data: bytes, sha256: str | None = None) -> dict[str, PublishedFile]:
    hub.plain["files/weights.pth"] = data
    url = f"{hub.address}/files/weights.pth"
    return {"weights.pth": PublishedFile("weights.pth", url, len(data), sha256)}


def test_a_published_file_goes_on_and_is_checked(hub: Hub, tmp_path: Path) -> None:
    files = published(hub, WEIGHTS, hashlib.sha256(WEIGHTS).hexdigest())
    by = fetcher(hub, tmp_path, files=files)
    place = tmp_path / "deep" / "weights.pth"
    hub.cuts["weights.pth"] = 300_000
    with pytest.raises(MissingDependencyError, match="to go on where it stopped"):
        fetch.pull(str(place), by)
    assert not place.exists(), "half a file never has the name"
    fetch.pull(str(place), by)
    assert place.read_bytes() == WEIGHTS
    assert len(hub.sent("weights.pth")) == 2 and hub.sent("weights.pth")[1].startswith("bytes=")


def test_another_file_than_the_published_one_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    by = fetcher(hub, tmp_path, files=published(hub, WEIGHTS, "0" * 64))
    with pytest.raises(MissingDependencyError, match="not the file that was published"):
        fetch.pull(str(tmp_path / "weights.pth"), by)
    assert list(tmp_path.iterdir()) == []


def test_weights_kept_elsewhere_are_fetched_without_the_hub_s_key(tmp_path: Path) -> None:
    cdn = Hub(plain={"model.safetensors": WEIGHTS})
    with serving(cdn), serving(Hub({NAME: dict(FILES)}, cdn=cdn)) as hub:
        fetch.pull(NAME, fetcher(hub, tmp_path))
        path = f"/{NAME}/resolve/{commit_of(FILES)}/model.safetensors"
        file = PublishedFile("again", f"{hub.address}{path}", len(WEIGHTS))
        download.fetch(file, tmp_path / "again", str, {"Authorization": "Bearer secret"})
    assert presence.look(NAME, (), {"HF_HUB_CACHE": str(tmp_path)}).here
    assert (tmp_path / "again").read_bytes() == WEIGHTS
    assert (path, "Bearer secret") in hub.keys and cdn.keys == []
    assert cdn.sent("model.safetensors") == ["", ""], "once by each of the two"


def test_two_processes_do_not_write_to_one_file(hub: Hub, tmp_path: Path) -> None:
    by = fetcher(hub, tmp_path, files=published(hub, WEIGHTS))
    with (tmp_path / "weights.pth.incomplete").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MissingDependencyError, match="another process is fetching it"):
            fetch.pull(str(tmp_path / "weights.pth"), by)
    fetch.pull(str(tmp_path / "weights.pth"), by)


def test_what_had_come_whole_before_it_was_stopped_is_not_asked_for_again(
    hub: Hub, tmp_path: Path
) -> None:
    files = published(hub, WEIGHTS)
    unknown = replace(files["weights.pth"], bytes=None)
    for file, asked in ((files["weights.pth"], []), (unknown, [f"bytes={len(WEIGHTS)}-"])):
        (tmp_path / "weights.pth.incomplete").write_bytes(WEIGHTS)
        download.fetch(file, tmp_path / "weights.pth", str)
        assert (tmp_path / "weights.pth").read_bytes() == WEIGHTS
        assert hub.sent("weights.pth") == asked
        (tmp_path / "weights.pth").unlink()


def test_a_pipeline_of_spacy_is_installed_by_its_own_command(hub: Hub, tmp_path: Path) -> None:
    ran: list[list[str]] = []

    def run(command: list[str]) -> str:
        ran.append(command)
        return "" if len(ran) == 1 else "no network"

    by = fetcher(hub, tmp_path, run=run)
    fetch.pull("xx_none_here_sm", by)
    assert ran[0][1:] == ["-m", "spacy", "download", "xx_none_here_sm"]
    with pytest.raises(MissingDependencyError, match=r"no network.*spacy download xx_none"):
        fetch.pull("xx_none_here_sm", by)
